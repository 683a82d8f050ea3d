"""A bank that is cut off or overwritten while it is open: an error before the next search."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from bank_samples import make_header, make_source, rows_of, run_job

from hashkit.bank import layout
from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError
from hashkit.evaluation.evaluator import evaluate
from hashkit.retrieval.search import search

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(os.name == "nt", reason="Windows protects mapped files itself"),
]


@pytest.fixture(params=[2, 3])
def path(tmp_path, request, monkeypatch):
    monkeypatch.setattr(layout.create_file, "__defaults__", (request.param,))
    run_job(tmp_path / "bank.h5")
    monkeypatch.undo()
    return tmp_path / "bank.h5"


QUERIES = rows_of([0, 1])[0]


def overwrite(path: Path, content: bytes) -> None:
    """Write into a file as `cp` does, which keeps the inode."""
    before = path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(content)
    # The clock of some file systems ticks only every few milliseconds.
    os.utime(path, ns=(before + 1, before + 1))


def other_bank(tmp_path, n_images: int) -> bytes:
    path = tmp_path / "other.h5"
    header = make_header(source=make_source("other", n_images))
    with BankWriter.create(path, header, n_rows=n_images, n_name_bytes=500) as writer:
        writer.write(*rows_of(range(n_images)), n_consumed=n_images)
    return path.read_bytes()


def test_a_file_that_is_cut_off_is_an_error(path):
    with Bank.open(path) as bank:
        search(QUERIES, bank, top_k=3)
        os.truncate(path, 3_000)
        for use in (
            lambda: search(QUERIES, bank, top_k=3),
            lambda: evaluate(bank, bank),
            lambda: bank.names,
            lambda: bank.labels,
            lambda: bank.rows_digest(),
        ):
            with pytest.raises(
                BankError, match=r"another program truncated it.*by renaming"
            ) as caught:
                use()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_images", [30, 4_000])
def test_a_file_that_is_overwritten_is_an_error(path, tmp_path, n_images):
    other = other_bank(tmp_path, n_images)
    with Bank.open(path) as bank:
        size = path.stat().st_size
        overwrite(path, other + bytes(max(size - len(other), 0)))
        with pytest.raises(BankError, match=r"another program wrote over it.*by renaming"):
            search(QUERIES, bank, top_k=3)
        with pytest.raises(BankError, match="another program wrote over it"):
            search(QUERIES, bank, top_k=3)  # and again: it is not forgotten


def test_a_file_that_is_no_longer_a_bank_is_an_error(path):
    with Bank.open(path) as bank:
        overwrite(path, b"x" * path.stat().st_size)
        with pytest.raises(BankError, match="another program wrote over it"):
            search(QUERIES, bank, top_k=3)


def test_an_older_copy_of_the_bank_is_an_error(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=make_source("first", 20))
    with BankWriter.create(path, header, n_rows=20, n_name_bytes=400) as writer:
        writer.write(*rows_of(range(5)), n_consumed=5)
        writer.flush()
        older = path.read_bytes()
        writer.write(*rows_of(range(5, 20)), n_consumed=20)
    with Bank.open(path) as bank:
        overwrite(path, older)
        with pytest.raises(BankError, match="another program wrote over it"):
            search(QUERIES, bank, top_k=3)


def test_changes_by_a_writer_are_not_an_error(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=make_source("first", 40))
    with BankWriter.create(path, header, n_rows=40, n_name_bytes=900) as writer:
        writer.write(*rows_of(range(5)), n_consumed=5)
        writer.flush()
        with Bank.open(path) as bank:
            expected = search(QUERIES, bank, top_k=3).rows
            for image in range(5, 40):
                writer.write(*rows_of([image]), n_consumed=image + 1)
                writer.flush()
                np.testing.assert_array_equal(search(QUERIES, bank, top_k=3).rows, expected)
    with Bank.open(path) as bank:
        delete_rows(path, [0])
        search(QUERIES, bank, top_k=3)


def test_a_bank_that_is_replaced_by_renaming_can_still_be_read(path, tmp_path):
    with Bank.open(path) as bank:
        expected = search(QUERIES, bank, top_k=3).rows
        (tmp_path / "new.h5").write_bytes(other_bank(tmp_path, 5))
        (tmp_path / "new.h5").replace(path)
        np.testing.assert_array_equal(search(QUERIES, bank, top_k=3).rows, expected)
        path.unlink()
        np.testing.assert_array_equal(search(QUERIES, bank, top_k=3).rows, expected)


def test_threads_share_the_check(path):
    """A search in one thread must not spoil the file position of another one's check."""
    errors = []

    def work():
        try:
            for _ in range(50):
                search(QUERIES, bank, top_k=3)
        except BankError as error:
            errors.append(error)

    with Bank.open(path) as bank:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for tick in range(20):
            os.utime(path, ns=(tick, tick))
        for thread in threads:
            thread.join()
    assert errors == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_handles_are_closed(path):
    def n_open() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = n_open()
    banks = [Bank.open(path) for _ in range(5)]
    for bank in banks[:2]:
        bank.close()
        bank.close()
    del banks, bank
    assert n_open() == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs SIGBUS of Linux")
def test_without_the_check_the_process_would_end(path, tmp_path):
    """The same search after the file was cut off: without the guard the process dies."""
    script = (
        "import os, sys; import numpy as np; from hashkit.bank.reader import Bank\n"
        "from hashkit.bank import guard; from hashkit.retrieval.search import search\n"
        "if sys.argv[2] == 'off': guard.FileGuard.check = lambda self: None\n"
        "bank = Bank.open(sys.argv[1]); os.truncate(sys.argv[1], 0)\n"
        "search(np.zeros((1, 3), np.uint8), bank, top_k=3)"
    )
    ends = {}
    for guard in ("on", "off"):
        copy = shutil.copy(path, tmp_path / f"{guard}.h5")
        command = [sys.executable, "-c", script, str(copy), guard]
        ends[guard] = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ends["on"].returncode == 1
    assert "BankError" in ends["on"].stderr
    assert ends["off"].returncode < 0
