"""A second writer, and a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bank_samples import make_header
from writer_samples import SOURCE, append, assert_holds, create, write

from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError, BankLockedError

# Two writers


def test_a_second_writer_is_refused(complete):
    with BankWriter.resume(complete, make_header(source=SOURCE)):
        for second in (
            lambda: BankWriter.resume(complete, make_header(source=SOURCE)),
            lambda: append(complete),
            lambda: create(complete, overwrite=True),
        ):
            with pytest.raises(BankLockedError, match="another process is writing"):
                second()
    BankWriter.resume(complete, make_header(source=SOURCE)).close()


@pytest.mark.end_to_end
def test_the_lock_works_between_processes_and_ends_with_its_owner(half):
    script = (
        "import sys; from bank_samples import *; from hashkit.bank.writer import BankWriter\n"
        "header = make_header(source=make_source('first', 6))\n"
        "writer = BankWriter.resume(sys.argv[1], header)\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(half)],
        cwd=Path(__file__).parents[1] / "support",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as owner:
        assert owner.stdout.readline().strip() == b"locked"
        with pytest.raises(BankLockedError):
            BankWriter.resume(half, make_header(source=SOURCE))
        owner.kill()
        owner.wait()
    BankWriter.resume(half, make_header(source=SOURCE)).close()


# A full disk


@pytest.fixture
def largest_file():
    """A function that limits the size of the files that this process writes, like a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_rows_before_it(path, largest_file):
    with create(path, make_header(), n_rows=1_000, n_name_bytes=10_000) as writer:
        write(writer, range(400), 400)
        # Labels are last in the file: this interrupts writing them.
        largest_file(writer._file.layout.offsets["labels"] + 4 * 500 + 1)
        with pytest.raises(BankError, match=r"cannot be written \(File too large\)"):
            write(writer, range(400, 1_000), 1_000)
    largest_file(-1)
    assert_holds(path, range(400), is_complete=False)
    with BankWriter.resume(path, make_header()) as writer:
        write(writer, range(400, 1_000), 1_000)
        writer.complete()
    assert_holds(path, range(1_000), is_complete=True)


def test_a_disk_too_full_to_grow_keeps_the_old_file(path, largest_file):
    with create(path, n_rows=3, n_name_bytes=80) as writer:
        write(writer, range(3), 3)
        largest_file(path.stat().st_size - 1_000)
        with pytest.raises(BankError, match="cannot be written"):
            write(writer, range(3, 6), 6)
        assert not path.with_name(".bank.h5.new").exists()
        largest_file(-1)
        write(writer, range(3, 6), 6)
        writer.complete()
    assert_holds(path, range(6), is_complete=True)


def test_a_failed_replacement_leaves_a_working_writer(path, monkeypatch):
    def busy(self, target):
        raise PermissionError(13, "file in use", str(target))

    with create(path, n_rows=3, n_name_bytes=80) as writer:
        write(writer, range(3), 3)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", busy)
            with pytest.raises(BankError, match=r"cannot be written \(file in use\)"):
                write(writer, range(3, 6), 6)
        assert not path.with_name(".bank.h5.new").exists()
        assert_holds(path, range(3), is_complete=False)
        write(writer, range(3, 6), 6)
        writer.complete()
    assert_holds(path, range(6), is_complete=True)


def test_a_failure_at_the_end_does_not_hide_the_error(path, monkeypatch, caplog):
    def full(_):
        raise OSError(28, "No space left on device")

    writer = create(path)
    write(writer, range(3), 3)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert "No space left on device" in caplog.text
    BankWriter.resume(path, make_header(source=SOURCE)).close()
