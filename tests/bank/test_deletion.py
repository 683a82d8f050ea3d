"""Deleted rows of a bank: marking, rebuilding the bank, and restoring."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from bank_samples import make_header, make_source, rows_of, run_job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashkit.bank import bankfile
from hashkit.bank import layout as bank_layout
from hashkit.bank.commit import Commit, read_commit, read_deleted
from hashkit.bank.deletion import delete_rows, restore_rows
from hashkit.bank.layout import read_layout
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError, BankLockedError

SOURCE = make_source("first", 6)


@pytest.fixture(scope="module")
def complete_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("complete") / "bank.h5"
    run_job(path)
    return path.read_bytes()


@pytest.fixture
def complete(tmp_path, complete_bytes):
    """A bank of two lists, 34 rows, which grew and was compacted."""
    path = tmp_path / "bank.h5"
    path.write_bytes(complete_bytes)
    return path


@pytest.fixture
def first_version(tmp_path, monkeypatch):
    monkeypatch.setattr(bank_layout.create_file, "__defaults__", (1,))
    run_job(tmp_path / "old.h5")
    monkeypatch.undo()
    return tmp_path / "old.h5"


def deleted_rows(path: Path) -> list[int]:
    with Bank.open(path) as bank:
        if bank.deleted is None:
            assert bank.n_deleted == 0
            return []
        assert bank.deleted.dtype == np.bool_
        assert bank.deleted.shape == (len(bank),)
        rows: list[int] = np.flatnonzero(bank.deleted).tolist()
        assert bank.n_deleted == len(rows) > 0
        return rows


def content(path: Path) -> tuple:
    with Bank.open(path) as bank:
        labels = bank.labels
        assert labels is not None
        return (
            bank.header,
            bank.sources,
            (bank.n_consumed, bank.is_complete),
            bank.codes.tolist(),
            list(bank.names),
            labels.tolist(),
        )


ROWS = st.lists(st.integers(0, 33), max_size=12)


@pytest.mark.end_to_end
@given(st.lists(st.tuples(st.booleans(), ROWS), max_size=6))
@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_marks_are_a_set_of_rows_and_nothing_else_changes(tmp_path, changes):
    path = tmp_path / "marked.h5"
    if not path.exists():
        run_job(path)
    restore_rows(path, range(34))
    before, marked = content(path), set()
    for is_restored, rows in changes:
        if is_restored:
            assert restore_rows(path, rows) == len(marked & {*rows})
            marked -= {*rows}
        else:
            assert delete_rows(path, rows) == len({*rows} - marked)
            marked |= {*rows}
        assert deleted_rows(path) == sorted(marked)
    assert content(path) == before


def test_a_bank_without_deletions_has_no_deleted_rows(complete):
    assert deleted_rows(complete) == []
    before = complete.read_bytes()
    assert delete_rows(complete, []) == 0
    assert restore_rows(complete, [1, 2]) == 0
    assert complete.read_bytes() == before
    assert delete_rows(complete, 5) == 1
    with Bank.open(complete) as bank, pytest.raises(ValueError, match="read-only"):
        bank.deleted[5] = False


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([3, 34], "rows from 0 to 33, found 34"),
        ([3, -1], "rows from 0 to 33, found -1"),
        ([3.0], r"integers \[m\], found float64 \[1\]"),
        ([[3]], r"found int64 \[1, 1\]"),
        (["3"], "found <U1"),
        ([True], "found bool"),
    ],
)
def test_invalid_rows_change_nothing(complete, rows, message):
    before = complete.read_bytes()
    for change in (delete_rows, restore_rows):
        with pytest.raises(BankError, match=message):
            change(complete, rows)
    assert complete.read_bytes() == before


def test_marks_are_flushed_before_their_commit(complete, monkeypatch):
    steps = []
    write_at = bankfile._write_at

    def recorded_write(file, offset, data):
        steps.append({64: "commit", 4: "checksum"}.get(len(data), "bitmap"))
        write_at(file, offset, data)

    monkeypatch.setattr(bankfile, "_write_at", recorded_write)
    monkeypatch.setattr(os, "fsync", lambda _: steps.append("fsync"))
    delete_rows(complete, [1])
    assert steps == ["bitmap", "checksum", "fsync", "commit", "fsync"]


def test_a_reader_keeps_the_marks_it_opened_with(complete):
    with Bank.open(complete) as before:
        delete_rows(complete, [1, 2])
        with Bank.open(complete) as bank:
            delete_rows(complete, [3])
            restore_rows(complete, [1])
            assert before.deleted is None
            assert np.flatnonzero(bank.deleted).tolist() == [1, 2]
    assert deleted_rows(complete) == [2, 3]


@pytest.mark.end_to_end
def test_readers_see_only_whole_changes(complete):
    first, second = [0, 9, 18, 27, 33], [1, 2, 9, 30]
    delete_rows(complete, first)
    done = threading.Event()

    def change():
        for _ in range(30):
            delete_rows(complete, [1, 2, 30])
            restore_rows(complete, [0, 18, 27, 33])
            delete_rows(complete, [0, 18, 27, 33])
            restore_rows(complete, [1, 2, 30])
        done.set()

    writer = threading.Thread(target=change)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(tuple(deleted_rows(complete)))
    writer.join()
    both = tuple(sorted({*first, *second}))
    assert seen <= {tuple(first), tuple(second), both}
    assert len(seen) > 1


def test_marks_that_change_during_a_read_are_detected(complete):
    delete_rows(complete, [1, 2])
    with complete.open("rb", buffering=0) as file:
        layout = read_layout(file, complete)
        commit = read_commit(file, layout, complete)
        assert read_deleted(file, layout, commit, complete) is not None
        delete_rows(complete, [3])
        restore_rows(complete, [3])  # the same number of rows, in the same bitmap
        assert read_commit(file, layout, complete).deleted_slot == commit.deleted_slot
        assert read_deleted(file, layout, commit, complete) is None


def test_marks_survive_growth_append_and_completion(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=SOURCE)
    with BankWriter.create(path, header, n_rows=2, n_name_bytes=10) as writer:
        writer.write(*rows_of([0, 1]), n_consumed=2)
    delete_rows(path, [1])
    with BankWriter.resume(path, header, commit_seconds=0) as writer:
        writer.write(*rows_of([2]), n_consumed=3)
        assert deleted_rows(path) == [1]
        writer.write(*rows_of([4, 5]), n_consumed=6)
        writer.complete()
    assert deleted_rows(path) == [1]
    delete_rows(path, [2, 4])
    other = make_header(source=make_source("second", 20))
    with BankWriter.append(path, other, n_rows=20, n_name_bytes=1) as writer:
        images = [image for image in range(23) if image % 7 != 3][:20]
        writer.write(*rows_of(images), n_consumed=20)
        writer.complete()
    assert deleted_rows(path) == [1, 2, 4]
    assert content(path)[4] == [*rows_of([0, 1, 2, 4, 5])[1], *rows_of(images)[1]]


def test_new_rows_are_not_marked(tmp_path):
    path = tmp_path / "bank.h5"
    header = make_header(source=make_source("first", 40))
    with BankWriter.create(path, header, n_rows=40, n_name_bytes=400) as writer:
        writer.write(*rows_of([0, 1, 2]), n_consumed=3)
    delete_rows(path, [0, 1, 2])
    with BankWriter.resume(path, header) as writer:
        writer.write(*rows_of(range(4, 40)), n_consumed=40)
    assert deleted_rows(path) == [0, 1, 2]


def test_rows_cannot_be_deleted_while_a_writer_has_the_lock(complete):
    header = make_header(source=Bank.open(complete).sources[-1])
    with BankWriter.resume(complete, header), pytest.raises(BankLockedError):
        delete_rows(complete, [1])
    assert delete_rows(complete, [1]) == 1


def test_a_missing_bank_is_named(tmp_path):
    with pytest.raises(BankError, match=r"none\.h5: there is no such bank"):
        delete_rows(tmp_path / "none.h5", [1])


# Version 1


def version(path: Path) -> int:
    with Bank.open(path) as bank:
        return bank.format_version


def test_a_bank_of_version_1_is_upgraded_by_its_first_deletion(first_version):
    before = content(first_version)
    assert version(first_version) == 1
    assert deleted_rows(first_version) == []
    assert restore_rows(first_version, [1]) == 0
    assert version(first_version) == 1
    assert delete_rows(first_version, [1, 8]) == 2
    assert version(first_version) == 3
    assert deleted_rows(first_version) == [1, 8]
    assert content(first_version) == before


def test_a_bank_of_version_1_keeps_its_version_when_rows_are_added(first_version):
    before = content(first_version)
    header = make_header(source=make_source("third", 2))
    with BankWriter.append(first_version, header, n_rows=5, n_name_bytes=1) as writer:
        writer.write(*rows_of([0, 1]), n_consumed=2)
        writer.complete()
    assert version(first_version) == 1
    assert content(first_version)[4] == [*before[4], *rows_of([0, 1])[1]]


# Damage


def test_a_wrong_number_of_marks_is_refused(complete):
    delete_rows(complete, [1, 8])
    with h5py.File(complete, "r+") as file:
        file["deleted"][1, 0] = 0xFF
    with pytest.raises(BankError, match="damaged: expected 2 deleted rows, found 9 marked"):
        Bank.open(complete)
    with pytest.raises(BankError, match="damaged"):
        delete_rows(complete, [2])


def test_more_deleted_rows_than_rows_is_refused(complete):
    with h5py.File(complete, "r+") as file:
        now = Commit(*map(int, file["commit"][:-1]))
        record = Commit(now.n_rows, now.n_name_bytes, 16, True, now.n_rows + 1).to_bytes(3)
        file["commit"][...] = np.frombuffer(record, "<u8")
    with pytest.raises(BankError, match="35 of 34 rows are marked as deleted"):
        Bank.open(complete)
