"""A bank set that follows a folder: changes reach the right shard, and new images the last one."""

import os
import shutil

import numpy as np
import pytest
from albums import draw
from kept_reporter import Kept
from linear_models import linear_model

import hashkit
from hashkit.bank.editor import BankEditor
from hashkit.bank_set.editor import SetEditor
from hashkit.bank_set.manifest import read_manifest
from hashkit.bank_set.reader import BankSet
from hashkit.errors import BankLockedError, BankMismatchError
from hashkit.runtimes.faults import read_faults

KINDS = ("added", "changed", "moved", "removed", "unchanged")


@pytest.fixture
def folder(album, encoder):
    """A set of three shards of the album, of one, two and two rows."""
    one = hashkit.encode(album, encoder, album.parent / "one.h5")
    hashkit.save_codes(album.parent / "set", one, shards=3)
    return album.parent / "set"


def sync(album, folder, encoder, **options):
    report = hashkit.sync(album, folder, encoder, reporter=Kept(), num_workers=1, **options)
    return {kind: getattr(report, kind) for kind in KINDS if getattr(report, kind)}


def change(album):
    (album / "trip").mkdir()
    (album / "0.png").rename(album / "trip" / "renamed.png")
    draw(album / "1.png", 11)
    (album / "2.png").unlink()
    shutil.copy(album / "3.png", album / "copy.png")
    os.utime(album / "4.png", ns=(1, 1))
    draw(album / "trip" / "new.png", 12)


CHANGED = {"added": 2, "changed": 1, "moved": 1, "removed": 1, "unchanged": 2}


def check(album, folder, encoder):
    """Check that the set has exactly the images of the folder, with their codes."""
    names = sorted(str(one.relative_to(album)) for one in album.rglob("*.png"))
    codes = encoder.encode([album / name for name in names])
    with BankSet.open(folder) as banks:
        joined = banks.joined()
        kept = np.flatnonzero(~joined.deleted) if banks.n_deleted else range(len(joined))
        found = sorted((joined.names[row], joined.codes[row].tobytes()) for row in kept)
    expected = zip(names, codes, strict=True)
    assert found == [(name, code.tobytes()) for name, code in expected]


def test_every_change_of_a_folder_reaches_the_right_shard(album, folder, encoder):
    (folder / "plan.json").touch()
    assert sync(album, folder, encoder) == {"unchanged": 5}
    assert not (folder / "plan.json").exists()  # of a fixed list
    before = BankSet.open(folder)
    sizes = [len(bank) for bank in before]
    change(album)
    assert sync(album, folder, encoder, dry_run=True) == CHANGED
    assert before.reload() is before
    assert sync(album, folder, encoder) == CHANGED
    check(album, folder, encoder)
    after = before.reload()
    assert [len(bank) for bank in after] == [*sizes[:-1], sizes[-1] + 5]
    n_deleted = [bank.n_deleted for bank in after]
    assert n_deleted == [shard.n_deleted for shard in after.manifest.shards] == [1, 2, 1]
    assert not after.manifest.shards[-1].is_growing
    assert after.joined().names[: len(before.joined())] == before.joined().names[:]
    assert sync(album, folder, encoder) == {"unchanged": 6}
    assert after.reload() is after


def test_a_row_that_a_user_deleted_stays_deleted_and_one_of_a_removed_file_comes_back(
    album, folder, encoder
):
    hashkit.delete_rows(folder, [1])
    (album / "0.png").rename(album.parent / "0.png")
    assert sync(album, folder, encoder) == {"removed": 1, "unchanged": 3}
    (album.parent / "0.png").rename(album / "0.png")
    (album / "broken.png").write_text("no image")
    assert sync(album, folder, encoder) == {"added": 1, "unchanged": 3}
    assert [one.name for one in read_faults(folder / "sync")] == ["broken.png"]


@pytest.mark.end_to_end
@pytest.mark.parametrize("n_commits", [1, 2, 4])
def test_a_sync_that_is_killed_leaves_a_set_that_opens_and_can_be_continued(
    album, folder, encoder, monkeypatch, n_commits
):
    change(album)
    apply, left = BankEditor.apply, [n_commits]

    def dying(self, *args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            raise SystemExit
        return apply(self, *args, **kwargs)

    with monkeypatch.context() as killed:
        killed.setattr(BankEditor, "apply", dying)
        # A process that is killed writes no manifest; its locks end with it.
        killed.setattr(SetEditor, "close", lambda self: self._keep.close())
        with pytest.raises(SystemExit):
            sync(album, folder, encoder)
    manifest = read_manifest(folder)
    with BankSet.open(folder) as banks:
        assert banks.n_rows >= manifest.n_rows
        hashkit.search(banks.joined().codes, banks, top_k=3)
    sync(album, folder, encoder)
    check(album, folder, encoder)
    assert not read_manifest(folder).shards[-1].is_growing


def test_another_model_and_another_writer_are_refused(album, folder, encoder, tmp_path):
    other = linear_model(tmp_path / "other.onnx", n_bits=12, seed=7)
    with pytest.raises(BankMismatchError, match="made by another model: encode the folder into a"):
        hashkit.sync(album, folder, other, reporter=Kept())
    with SetEditor.open(folder), pytest.raises(BankLockedError, match="changing this bank set"):
        sync(album, folder, encoder)


def test_rows_are_added_to_the_last_shard(album, folder, encoder):
    before = BankSet.open(folder)
    draw(album / "new.png", 21)
    assert hashkit.add(before, album / "new.png", ["new.png"], model=encoder) == [5]
    after = before.reload()
    assert [len(bank) for bank in after] == [1, 2, 3]
    assert after.joined().names[5] == "new.png"
    assert after.manifest.n_rows == 6
    assert hashkit.add(folder, after[0].codes, ["copy"]) == [6]
