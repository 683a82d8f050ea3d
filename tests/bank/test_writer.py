"""Writing banks: commits, what is completed, invalid rows, and memory."""

from __future__ import annotations

import os
import shutil
import tracemalloc
from concurrent import futures
from pathlib import Path

import numpy as np
import pytest
from bank_samples import CLASSES, make_header, make_source, rows_of, run_job
from looped import looped
from writer_samples import SOURCE, append, assert_holds, create, write

from hashkit.bank import bankfile
from hashkit.bank import writer as bank_writer
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import pack
from hashkit.errors import BankError, CodesError


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
