"""Writing banks: resuming, appending, growing, locking and failed writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from bank_samples import CLASSES, make_header, make_source, rows_of, run_job
from looped import looped

from hashkit.bank import bankfile
from hashkit.bank import writer as bank_writer
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import pack
from hashkit.errors import BankError, BankLockedError, BankMismatchError, CodesError
from hashkit.manifest import Manifest

SOURCE = make_source("first", 6)
OTHER = make_source("second", 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bank.h5"


def create(path, header=None, n_rows=8, n_name_bytes=80, **options):
    header = header or make_header(source=SOURCE)
    return BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=n_name_bytes, **options)


def append(path, header=None, **options):
    header = header or make_header(source=OTHER)
    return BankWriter.append(path, header, n_rows=3, n_name_bytes=20, **options)


def write(writer, images, n_consumed):
    writer.write(*rows_of(images), n_consumed=n_consumed)


@pytest.fixture
def complete(path):
    with create(path) as writer:
        write(writer, range(6), 6)
        writer.complete()
    return path


@pytest.fixture
def half(path):
    with create(path) as writer:
        write(writer, range(3), 3)
    return path


def assert_holds(path, images, *, is_complete):
    codes, names, labels = rows_of(images)
    with Bank.open(path) as bank:
        np.testing.assert_array_equal(bank.codes, codes)
        assert list(bank.names) == names
        np.testing.assert_array_equal(bank.labels, labels)
        assert bank.is_complete == is_complete
        bank.verify()


def test_closing_keeps_the_rows_but_does_not_complete(half):
    assert_holds(half, range(3), is_complete=False)
    with BankWriter.resume(half, make_header(source=SOURCE)) as writer:
        assert (writer.n_committed, writer.n_consumed, writer.is_complete) == (3, 3, False)
        write(writer, range(3, 6), 6)
        writer.complete()
    assert_holds(half, range(6), is_complete=True)


def test_an_exception_keeps_the_rows(path):
    writer = create(path)
    write(writer, range(3), 3)
    with pytest.raises(KeyboardInterrupt), writer:
        raise KeyboardInterrupt
    assert_holds(path, range(3), is_complete=False)


def test_resuming_a_complete_bank_changes_nothing(complete):
    before = complete.read_bytes()
    with BankWriter.resume(complete, make_header(source=SOURCE)) as writer:
        assert writer.is_complete
        assert writer.n_consumed == 6
        with pytest.raises(BankError, match="the bank is complete"):
            write(writer, [4], 6)
        writer.complete()
    assert complete.read_bytes() == before


def test_rows_are_valid_only_after_a_commit(path):
    with create(path, commit_seconds=3600) as writer:
        write(writer, range(3), 3)
        assert writer.n_committed == 0
        assert_holds(path, [], is_complete=False)
        writer.flush()
        assert writer.n_committed == 3
        assert_holds(path, range(3), is_complete=False)


def test_a_reader_keeps_the_rows_it_opened_with(path):
    with create(path, n_rows=2, n_name_bytes=1, commit_seconds=0) as writer:
        write(writer, range(2), 2)
        bank = Bank.open(path)
        write(writer, range(2, 6), 6)  # grows: another file replaces this one
        writer.complete()
        np.testing.assert_array_equal(bank.codes, rows_of(range(2))[0])
        assert list(bank.names) == rows_of(range(2))[1]
        assert not bank.is_complete
    assert_holds(path, range(6), is_complete=True)


def test_commits_are_throttled(path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(bank_writer.time, "monotonic", lambda: now[0])
    with create(path) as writer:
        committed = []
        for image in (0, 1, 2):
            now[0] += 0.6
            write(writer, [image], image + 1)
            committed.append(writer.n_committed)
    assert committed == [0, 2, 2]


def test_rows_are_flushed_before_their_commit(path, monkeypatch):
    steps = []
    write_at, replace = bankfile._write_at, Path.replace

    def recorded_write(file, offset, data):
        steps.append("commit" if len(data) == 64 else "rows")
        write_at(file, offset, data)

    def recorded_replace(path, target):
        steps.append("replace")
        return replace(path, target)

    monkeypatch.setattr(bankfile, "_write_at", recorded_write)
    monkeypatch.setattr(os, "fsync", lambda _: steps.append("fsync"))
    monkeypatch.setattr(Path, "replace", recorded_replace)
    with create(path, n_rows=2, n_name_bytes=80) as writer:
        published = ["fsync", "commit", "fsync", "fsync", "replace", "fsync"]
        assert steps == ["rows", *published]  # the checksums of no rows
        steps.clear()
        write(writer, range(2), 2)
        writer.flush()
        assert steps == ["rows"] * 5 + ["fsync", "commit", "fsync"]
        steps.clear()
        write(writer, [2], 3)
        copied = ["rows"] * 5 + published
        assert steps == copied + ["rows"] * 4


def test_a_complete_bank_has_no_unused_space(path):
    with create(path, n_rows=100_000, n_name_bytes=1_000_000) as writer:
        write(writer, range(6), 6)
        writer.complete()
    assert path.stat().st_size < 16_384
    with create(path, n_rows=5, n_name_bytes=40, overwrite=True) as writer:
        write(writer, range(6), 6)
        layout = writer._file.layout
        writer.complete()
        used = (5, len("".join(rows_of(range(6))[1]).encode()))
        assert (layout.n_rows, layout.n_name_bytes) != used
        assert (writer._file.layout.n_rows, writer._file.layout.n_name_bytes) == used
    assert_holds(path, range(6), is_complete=True)


def test_an_empty_bank_can_be_completed(path):
    with create(path, make_header(source=make_source(n_images=0))) as writer:
        writer.complete()
    assert_holds(path, [], is_complete=True)


def test_missing_folders_are_created(tmp_path):
    path = tmp_path / "new" / "folder" / "bank.h5"
    create(path).close()
    assert_holds(path, [], is_complete=False)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need special rights on Windows")
def test_a_link_stays_a_link(tmp_path, complete):
    link = tmp_path / "link.h5"
    link.symlink_to(complete)
    with append(link) as writer:
        write(writer, range(3), 3)
        writer.complete()
    assert link.is_symlink()
    assert_holds(complete, [*range(6), *range(3)], is_complete=True)


def test_an_existing_file_needs_overwrite(complete):
    with pytest.raises(BankError, match=r"BankWriter.resume.*BankWriter.append.*`overwrite=True`"):
        create(complete)
    assert_holds(complete, range(6), is_complete=True)
    create(complete, overwrite=True).close()
    assert_holds(complete, [], is_complete=False)


def test_leftovers_of_a_killed_writer_are_removed(half):
    leftover = half.with_name(f".bank.h5.{'0' * 16}.hashkit-part")
    leftover.write_bytes(b"half a file")
    BankWriter.resume(half, make_header(source=SOURCE)).close()
    assert not leftover.exists()


# Resuming another job


@looped(
    ("fields", "expected"),
    [
        ({"n_bits": 24, "manifest": Manifest(24, 32, 32)}, "24, found 20"),
        ({"model_sha256": "cd" * 32}, f"{'cd' * 6}, found the model of SHA-256 {'ab' * 6}"),
        ({"precision": "int8"}, "int8, found fp32"),
        ({"provider": "CUDAExecutionProvider"}, "CUDAExecutionProvider, found CPUExecution"),
        ({"runtime": "onnxruntime 2"}, "onnxruntime 2, found onnxruntime 1.24.0"),
        ({"label_kind": "none"}, "none, found single"),
        ({"class_names": ("ant",)}, "ant, found ant, bee, cat"),
        ({"source": OTHER}, "images of second, found first"),
        ({"source": make_source("first", 6, part="query", names_sha256="")}, "query, found all"),
        ({"source": make_source("first", 7)}, "7, found 6"),
        ({"source": make_source("first", 6, names_sha256="ef" * 32)}, f"{'ef' * 32}, found"),
        ({"source": make_source("first", 6, seed=3, root="/b")}, "below /b, found /images/first"),
        ({"source": None}, "known image list: no, found yes"),
    ],
)
def test_another_job_is_refused(half, fields, expected):
    before = half.read_bytes()
    header = make_header(**({"source": SOURCE} | fields))
    with pytest.raises(BankMismatchError) as caught:
        BankWriter.resume(half, header)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert half.read_bytes() == before
    BankWriter.resume(half, make_header(source=SOURCE)).close()  # the lock is free


def test_the_same_list_under_another_dataset_name_resumes(half):
    source = make_source("first", 6, dataset="./first/", protocol="half", seed=1)
    BankWriter.resume(half, make_header(source=source)).close()


def test_another_provider_must_be_allowed_and_is_recorded(half):
    header = make_header(source=SOURCE, provider="CUDAExecutionProvider")
    with BankWriter.resume(half, header, allow_other_provider=True) as writer:
        write(writer, range(3, 6), 6)
        writer.complete()
    assert_holds(half, range(6), is_complete=True)
    with Bank.open(half) as bank:
        assert bank.header.provider == "CPUExecutionProvider, CUDAExecutionProvider"
    BankWriter.resume(half, header).close()
    BankWriter.resume(half, make_header(source=SOURCE)).close()


def test_another_resampler_must_be_allowed_and_is_recorded(path):
    with create(path, make_header(source=SOURCE, resampler="Pillow 12.0.0")) as writer:
        write(writer, range(3), 3)
    other = make_header(source=SOURCE, resampler="Pillow 13.0.0")
    with pytest.raises(BankMismatchError, match=r"resampler Pillow 13.0.0, found Pillow 12.0.0"):
        BankWriter.resume(path, other)
    BankWriter.resume(path, other, allow_other_provider=True).close()
    with Bank.open(path) as bank:
        assert bank.header.resampler == "Pillow 12.0.0, Pillow 13.0.0"
    BankWriter.resume(path, other).close()


def test_an_unknown_resampler_is_not_compared(half):
    BankWriter.resume(half, make_header(source=SOURCE, resampler="Pillow 13.0.0")).close()
    with Bank.open(half) as bank:
        assert bank.header.resampler == ""  # of the rows before, it is still unknown


def test_resume_and_append_do_not_create_a_bank(path):
    for start in (append, lambda path: BankWriter.resume(path, make_header(source=SOURCE))):
        with pytest.raises(BankError, match="no such bank"):
            start(path)
    assert not list(path.parent.iterdir())


# Adding a list


def test_append_continues_where_it_was_stopped(complete):
    with append(complete) as writer:
        assert (writer.n_committed, writer.n_consumed, writer.is_complete) == (5, 0, False)
        assert writer.sources == (SOURCE, OTHER)
        write(writer, range(2), 2)
    with append(complete) as writer:
        assert writer.sources == (SOURCE, OTHER)
        assert (writer.n_committed, writer.n_consumed) == (7, 2)
        write(writer, [2], 3)
        writer.complete()
    assert_holds(complete, [*range(6), *range(3)], is_complete=True)
    with append(complete) as writer:
        assert writer.is_complete
    with Bank.open(complete) as bank:
        assert bank.sources == (SOURCE, OTHER)


def test_appending_with_another_provider_must_be_allowed(complete):
    header = make_header(source=OTHER, provider="CUDAExecutionProvider")
    with pytest.raises(BankMismatchError, match="CUDAExecutionProvider, found CPUExecution"):
        append(complete, header)
    append(complete, header, allow_other_provider=True).close()
    with Bank.open(complete) as bank:
        assert bank.header.provider == "CPUExecutionProvider, CUDAExecutionProvider"


def test_a_list_is_not_added_twice(complete):
    with append(complete) as writer:
        write(writer, range(3), 3)
        writer.complete()
    with pytest.raises(BankMismatchError, match="already contains this list of 6 images of first"):
        append(complete, make_header(source=SOURCE))


def test_only_a_complete_bank_takes_another_list(half):
    with pytest.raises(BankError, match="interrupted after 3 rows: finish that first"):
        append(half)


def test_unknown_lists_can_be_appended(path):
    with create(path, make_header()) as writer:
        write(writer, range(2), 2)
        writer.complete()
    with append(path, make_header()) as writer:
        write(writer, range(2, 4), 4)
        writer.complete()
    assert_holds(path, range(4), is_complete=True)


# Invalid rows


@looped(
    ("codes", "names", "labels", "n_consumed", "error", "message"),
    [
        (np.ones((1, 3), np.uint8), ["a"], [0], 1, CodesError, "last 4 bits"),
        (np.zeros((1, 2), np.uint8), ["a"], [0], 1, CodesError, r"uint8 \[n, 3\]"),
        (np.zeros((1, 3), np.int64), ["a"], [0], 1, CodesError, "int64"),
        (np.zeros((2, 3), np.uint8), ["a"], [0, 0], 2, BankError, "2, found 1"),
        (np.zeros((1, 3), np.uint8), ["a\0b"], [0], 1, BankError, "NUL"),
        (
            np.zeros((1, 3), np.uint8),
            ["a\udcff"],
            [0],
            1,
            BankError,
            r"UTF-8 text, found 'a\\udcff",
        ),
        (np.zeros((1, 3), np.uint8), ["a"], None, 1, BankError, "found none"),
        (
            np.zeros((1, 3), np.uint8),
            ["a"],
            [0, 1],
            1,
            BankError,
            r"labels \[1\], found int64 \[2\]",
        ),
        (np.zeros((1, 3), np.uint8), ["a"], [0.5], 1, BankError, "float64"),
        (np.zeros((1, 3), np.uint8), ["a"], [-2], 1, BankError, "from -1 to 2, found -2"),
        (np.zeros((1, 3), np.uint8), ["a"], [len(CLASSES)], 1, BankError, "from -1 to 2, found 3"),
        (np.zeros((1, 3), np.uint8), ["a"], [0], 0, BankError, "at least 1 and at most 6, found 0"),
        (np.zeros((1, 3), np.uint8), ["a"], [0], 7, BankError, "found 7"),
    ],
)
def test_invalid_rows_are_refused(tmp_path, codes, names, labels, n_consumed, error, message):
    path = tmp_path / "bank.h5"
    with create(path) as writer:
        with pytest.raises(error, match=message):
            writer.write(codes, names, labels, n_consumed=n_consumed)
        write(writer, range(3), 3)
    assert_holds(path, range(3), is_complete=False)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("none", [0], "expected no labels"),
        ("multi", [[0, 1]], r"\[1, 3\], found int64 \[1, 2\]"),
        ("multi", [[0, 1, 2]], "from 0 to 1, found 0 to 2"),
    ],
)
def test_labels_of_another_kind_are_refused(path, kind, labels, message):
    writer = create(path, make_header(label_kind=kind))
    with writer, pytest.raises(BankError, match=message):
        writer.write(np.zeros((1, 3), np.uint8), ["a"], np.array(labels), n_consumed=1)


def test_hashing_refuses_names_that_cannot_be_stored():
    with pytest.raises(BankError, match="rename the file"):
        hash_names(["good.png", "bad\udcff.png"], None)


def test_completion_needs_every_image(half):
    writer = BankWriter.resume(half, make_header(source=SOURCE))
    with writer, pytest.raises(BankError, match="all 6 images before completion, found 3"):
        writer.complete()
    assert_holds(half, range(3), is_complete=False)


def test_a_closed_writer_cannot_be_used(path):
    writer = create(path)
    writer.close()
    writer.close()
    for use in (writer.flush, writer.complete, lambda: write(writer, [0], 1)):
        with pytest.raises(BankError, match="this writer is closed"):
            use()


@pytest.mark.end_to_end
def test_readers_see_only_whole_rows_while_a_bank_is_written(path):
    n_images, batch = 600, 3

    def work():
        with create(path, make_header(), n_rows=20, n_name_bytes=20, commit_seconds=0) as writer:
            for start in range(0, n_images, batch):
                write(writer, range(start, start + batch), start + batch)
            writer.complete()

    seen = set()
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(work)
        while not job.done():
            if path.exists():
                with Bank.open(path) as bank:
                    seen.add(bank.n_consumed)
                    codes, names, labels = rows_of(range(bank.n_consumed))
                    np.testing.assert_array_equal(bank.codes, codes)
                    np.testing.assert_array_equal(bank.labels, labels)
                    assert list(bank.names) == names
        job.result()
    assert len(seen) > 3
    assert_holds(path, range(n_images), is_complete=True)


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


# Size


@pytest.mark.end_to_end
def test_a_large_bank_takes_little_memory(path):
    n_bits, n_rows, batch = 65_536, 3_200, 64
    header = make_header(n_bits, label_kind="none")
    bits = np.random.default_rng(0).integers(0, 2, (batch, n_bits), dtype=np.uint8)
    codes, names = pack(bits), [str(row) for row in range(batch)]
    tracemalloc.start()
    try:
        # 25 MiB of codes; the bank starts with half the space, so that it is copied twice.
        with create(path, header, n_rows=n_rows // 2, n_name_bytes=1) as writer:
            for start in range(0, n_rows, batch):
                writer.write(codes, names, n_consumed=start + batch)
            writer.complete()
        with Bank.open(path) as bank:
            assert np.array_equal(bank.codes[-batch:], codes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_a_copy_of_a_bank_can_be_read(tmp_path, path):
    run_job(path)
    shutil.copy(path, tmp_path / "copy.h5")
    assert_holds(tmp_path / "copy.h5", range(40), is_complete=True)
