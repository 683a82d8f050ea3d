"""Changing a bank that is in use: one commit per change, and readers that open it again."""

from __future__ import annotations

import errno
import os
import shutil
import threading

import h5py
import numpy as np
import pytest
from bank_edits import EDITS, FOLDER, edits_done, files_of, run_edits
from bank_samples import make_header, make_source, rows_of, run_job

from hashkit.bank import bankfile
from hashkit.bank import editor as bank_editor
from hashkit.bank import layout as bank_layout
from hashkit.bank.deletion import delete_rows
from hashkit.bank.editor import BankEditor
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError, BankLockedError, CodesError

NEW = range(40, 48)


@pytest.fixture(scope="module")
def job_bytes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    before = bank_layout.create_file.__defaults__
    content = {}
    for version in (1, 2, 3):
        bank_layout.create_file.__defaults__ = (version,)
        run_job(folder / "bank.h5")
        content[version] = (folder / "bank.h5").read_bytes()
        (folder / "bank.h5").unlink()
    bank_layout.create_file.__defaults__ = before
    return content


@pytest.fixture
def path(tmp_path, job_bytes):
    """A complete bank of 34 rows, without columns for files."""
    path = tmp_path / "bank.h5"
    path.write_bytes(job_bytes[3])
    return path


@pytest.fixture
def empty(tmp_path):
    """A new bank of no rows, and its editor."""
    with BankEditor.create(tmp_path / "new.h5", make_header(source=FOLDER)) as editor:
        yield editor


def n_rows_of(images) -> int:
    return len(rows_of(images)[1])


@pytest.mark.end_to_end
@pytest.mark.parametrize("version", [1, 2, 3])
def test_each_edit_is_one_change_and_earlier_formats_are_upgraded(
    path, job_bytes, version, monkeypatch
):
    monkeypatch.setattr(bank_editor, "_LEAST_ROWS", 1)
    monkeypatch.setattr(bank_editor, "_LEAST_NAME_BYTES", 1)
    path.write_bytes(job_bytes[version])
    assert edits_done(path) == 0
    run_edits(path)
    assert edits_done(path) == len(EDITS)
    with Bank.open(path) as bank:
        assert bank.format_version == 3
        assert bank.header.has_files
        assert bank.n_consumed == len(bank)


def test_a_snapshot_stays_as_it_was_and_reload_gives_the_new_rows(empty):
    assert empty.apply(*rows_of(range(8)), files=files_of(range(8))) == range(7)
    bank = Bank.open(empty.path)
    assert bank.reload() is bank
    assert empty.apply(*rows_of(range(8, 12)), deleted=[1]) == range(7, 10)
    empty.apply(deleted=[2, 1])
    empty.apply(*rows_of(range(12, 16)))
    assert len(bank) == 7
    assert bank.deleted is None
    bank.verify()  # although its checksums of the last rows were overwritten
    newer = bank.reload()
    assert newer.reload() is newer
    assert (len(newer), np.flatnonzero(newer.deleted).tolist()) == (n_rows_of(range(16)), [1, 2])
    newer.verify()
    np.testing.assert_array_equal(newer.codes, rows_of(range(16))[0])
    np.testing.assert_array_equal(newer.files.sizes[:7], files_of(range(8)).sizes)
    assert not newer.files.sizes[7:].any()
    assert list(bank.names) == rows_of(range(8))[1]


def test_reload_follows_a_file_that_was_replaced_or_removed(path, tmp_path):
    with Bank.open(path) as bank:
        before = path.stat()
        shutil.copyfile(path, tmp_path / "other.h5")
        delete_rows(tmp_path / "other.h5", [3])
        (tmp_path / "other.h5").replace(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with bank.reload() as newer:
            assert newer.n_deleted == 1
        path.unlink()
        with pytest.raises(BankError, match="there is no such bank"):
            bank.reload()
        assert bank.n_deleted == 0
    with pytest.raises(BankError, match="the bank is closed"):
        bank.reload()


def test_a_bank_with_spare_rows_is_complete_for_every_other_program(path):
    with BankEditor.open(path) as editor:
        editor.apply(*rows_of(NEW), files=files_of(NEW), deleted=[0])
    with h5py.File(path) as file:
        n_rows = int(file["commit"][0])
        assert len(file["codes"]) > n_rows + 500
        np.testing.assert_array_equal(file["codes"][34:n_rows], rows_of(NEW)[0])
    assert delete_rows(path, [0, 1]) == 1
    header = make_header(source=make_source("third", 4))
    with BankWriter.append(path, header, n_rows=4, n_name_bytes=80) as writer:
        writer.write(*rows_of(range(48, 52)), n_consumed=4)
        writer.complete()
    with Bank.open(path) as bank:
        bank.verify()
        assert len(bank) == n_rows_of(range(52))
        assert bank.n_deleted == 2
        assert bank._layout.n_rows == len(bank)


def test_an_upgrade_keeps_the_checksums_of_damaged_rows(path):
    with h5py.File(path, "r+") as file:
        file["codes"][0, 0] ^= 1
    editor = BankEditor(path, bank_editor.locked(path).__enter__()[0])  # `open` would refuse it
    editor.apply(*rows_of(NEW), files=files_of(NEW))
    editor.close()
    with Bank.open(path) as bank, pytest.raises(BankError, match=r"codes, block 0.*checksum"):
        bank.verify()


def test_the_file_is_copied_rarely(tmp_path, monkeypatch):
    monkeypatch.setattr(bank_editor, "_LEAST_ROWS", 16)
    monkeypatch.setattr(bank_editor, "_LEAST_NAME_BYTES", 100)
    code, copies = np.zeros((1, 3), np.uint8), []
    rebuild = bankfile.BankFile.rebuild
    monkeypatch.setattr(
        bankfile.BankFile, "rebuild", lambda *given: copies.append(given[3]) or rebuild(*given)
    )
    with BankEditor.create(tmp_path / "new.h5", make_header()) as editor:
        for row in range(300):
            assert editor.apply(code, [f"{row}.png"], np.zeros(1, int)) == range(row, row + 1)
    assert 4 <= len(copies) <= 10  # 16 * 1.5 ** 8 > 300


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"codes": np.ones((1, 3), np.uint8)}, CodesError, "last 4 bits"),
        ({"labels": np.array([9])}, BankError, "from -1 to 2, found 9"),
        ({"names": ["a", "b"]}, BankError, "one name per row, 1, found 2"),
        ({"files": files_of(range(2))}, BankError, r"file_size to be <u8 \[1\]"),
        ({"deleted": [34]}, BankError, "rows from 0 to 33, found 34"),
        ({"deleted": [0.5]}, BankError, "expected row numbers"),
        ({"codes": None}, BankError, "give `codes` too"),
    ],
)
def test_an_invalid_change_changes_nothing(path, change, error, message):
    valid = {"codes": np.zeros((1, 3), np.uint8), "names": ["a"], "labels": np.array([0])}
    before = path.read_bytes()
    with BankEditor.open(path) as editor:
        with pytest.raises(error, match=message) as caught:
            editor.apply(**(valid | {"files": files_of([0]), "deleted": [1]} | change))
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == before
        assert editor.apply(**valid) == range(34, 35)


@pytest.mark.parametrize("n_calls", [1, 2])
def test_a_change_that_fails_on_the_disk_can_be_made_again(empty, monkeypatch, n_calls):
    """The rows cannot be flushed, or the commit record that was written cannot."""
    empty.apply(*rows_of(range(4)))
    left = [n_calls]

    def full(_):
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BankError, match="No space left"):
            empty.apply(*rows_of(range(4, 8)), deleted=[0])
    is_written = n_calls == 2
    assert empty.n_rows == n_rows_of(range(8 if is_written else 4))
    empty.apply(*rows_of(range(8 if is_written else 4, 12)), deleted=[0, 1])
    with Bank.open(empty.path) as bank:
        bank.verify()
        assert list(bank.names) == rows_of(range(12))[1]
        assert np.flatnonzero(bank.deleted).tolist() == [0, 1]


def test_rows_are_not_written_to_a_file_that_is_gone(empty, tmp_path, path):
    shutil.copyfile(path, tmp_path / "moved.h5")
    (tmp_path / "moved.h5").replace(empty.path)
    for change in (lambda: empty.apply(*rows_of(NEW)), lambda: empty.set_source(make_source())):
        with pytest.raises(BankError, match="another program removed or replaced it"):
            change()
    with Bank.open(empty.path) as bank:
        assert len(bank) == 34


def test_an_editor_goes_on_with_the_file_that_replaced_its_own(empty, path):
    assert not empty.reopen()
    kept = empty.path.read_bytes()
    empty.path.unlink()
    with pytest.raises(BankError, match="found no file"):
        empty.reopen()
    (empty.path.parent / "half.h5").write_bytes(path.read_bytes()[:-500])
    (empty.path.parent / "half.h5").replace(empty.path)
    with pytest.raises(BankError):
        empty.reopen()
    (empty.path.parent / "copy.h5").write_bytes(kept)
    (empty.path.parent / "copy.h5").replace(empty.path)
    assert empty.reopen()
    empty.apply(*rows_of(NEW))
    with Bank.open(empty.path) as bank:
        assert len(bank) == n_rows_of(NEW)
    with pytest.raises(BankLockedError):
        BankEditor.open(empty.path)


def test_only_one_editor_or_writer_at_a_time(empty):
    for second in (
        lambda: BankEditor.open(empty.path),
        lambda: BankEditor.create(empty.path, make_header(), overwrite=True),
        lambda: delete_rows(empty.path, [0]),
    ):
        with pytest.raises(BankLockedError, match="another process is writing"):
            second()
    with pytest.raises(BankLockedError, match=r"still after 0\.01 s; wait for it to end"):
        BankEditor.open(empty.path, lock_seconds=0.01)
    threading.Timer(0.05, empty.close).start()
    with BankEditor.open(empty.path, lock_seconds=30) as editor:
        editor.apply(*rows_of(range(4)))
    with pytest.raises(BankError, match="this editor is closed"):
        empty.apply(*rows_of(range(4)))


def test_only_a_complete_bank_can_be_changed(tmp_path):
    path = tmp_path / "half.h5"
    with pytest.raises(BankError, match="there is no such bank"):
        BankEditor.open(path)
    with BankWriter.create(path, make_header(), n_rows=8, n_name_bytes=80) as writer:
        writer.write(*rows_of(range(3)), n_consumed=3)
    with pytest.raises(BankError, match=r"complete bank to change.*interrupted after 3 rows: fin"):
        BankEditor.open(path)
    with pytest.raises(BankError, match="change it with BankEditor"):
        BankEditor.create(path, make_header())


def test_lists_are_replaced_or_added_once(path):
    uploads = make_source("uploads", None, root=None, names_sha256="")
    with BankEditor.open(path) as editor:
        first = editor.sources
        editor.apply(*rows_of(NEW), source=uploads)
        inode = path.stat().st_ino
        editor.apply(*rows_of(range(48, 52)), source=uploads)
        assert editor.sources == (*first, uploads)
        assert path.stat().st_ino == inode  # nothing was copied
        assert Bank.open(path).n_consumed == n_rows_of(range(40, 52))
        editor.set_source(FOLDER)
        assert (editor.sources, editor.header.source) == ((FOLDER,), FOLDER)
    with Bank.open(path) as bank:
        assert bank.sources == (FOLDER,)
        assert bank.n_consumed == len(bank)


def test_threads_share_an_editor(empty):
    given: list[tuple[int, int]] = []

    def work(first):
        for image in range(first, 80, 4):
            rows = empty.apply(*rows_of([image]))
            given.extend((image, row) for row in rows)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Bank.open(empty.path) as bank:
        bank.verify()
        assert len(bank) == len(given) == n_rows_of(range(80))
        for image, row in given:
            assert bank.names[row] == rows_of([image])[1][0]
