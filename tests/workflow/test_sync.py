"""A bank that follows its folder."""

import contextlib
import os
import shutil
import threading

import numpy as np
import pytest
from albums import draw
from kept_reporter import Kept
from linear_models import linear_model
from PIL import Image

import hashkit
from hashkit.bank.editor import BankEditor
from hashkit.bank.names import rows_named
from hashkit.bank.writer import BankWriter
from hashkit.collection.replacing import beside_path
from hashkit.errors import BankError, BankMismatchError, ConfigError, DatasetError
from hashkit.multi_index.index import index_path
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import read_faults
from hashkit.workflow import sync as sync_module
from hashkit.workflow.index_state import index_state

KINDS = ("added", "changed", "moved", "removed", "unchanged")


@pytest.fixture
def sync(album, encoder):
    """Sync the album; returns the counts that are not 0, and what was encoded.

    Before each sync, ``dry_run`` has to foretell its counts, its faults or its refusal.
    """

    def synced(bank=None, model=encoder, foretold=True, **options):
        def run(**more):
            options_too = {"reporter": Kept(), "num_workers": 1} | options | more
            return hashkit.sync(album, bank, model, **options_too)

        expected = run(dry_run=True) if foretold else None
        report = run()
        counts = {kind: getattr(report, kind) for kind in KINDS if getattr(report, kind)}
        if expected is not None:
            assert {kind: getattr(expected, kind) for kind in counts} == counts
            assert (expected.encoded, expected.faults) == (report.encoded, report.faults)
        return counts, report.encoded

    return synced


@pytest.fixture
def path(album):
    return album.parent / "album.h5"


@pytest.fixture
def dies(monkeypatch):
    """Let the encoder be interrupted after this many batches; 0 for never."""
    run, left = Encoder.run, [0]

    def dying(self, pixels):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return run(self, pixels)

    monkeypatch.setattr(Encoder, "run", dying)
    return lambda n_batches: left.__setitem__(0, n_batches + 1 if n_batches else 0)


def live(path):
    """Codes by name of the rows that are not deleted, each name once."""
    with hashkit.Bank.open(path) as bank:
        is_live = np.ones(len(bank), bool) if bank.deleted is None else ~bank.deleted
        rows = [(name, code.tobytes()) for name, code in zip(bank.names, bank.codes, strict=True)]
        found = [row for row, kept in zip(rows, is_live, strict=True) if kept]
    assert len(dict(found)) == len(found)
    return dict(found)


def is_right(album, path, encoder):
    """Whether the bank has exactly the images of the folder with their codes."""
    names = sorted(str(one.relative_to(album)) for one in album.rglob("*.png"))
    codes = encoder.encode([album / name for name in names])
    return live(path) == {name: code.tobytes() for name, code in zip(names, codes, strict=True)}


def test_copies_are_not_reported_as_encoded(album, encoder, sync):
    sync()
    shutil.copy(album / "3.png", album / "copy.png")
    notes = Kept()
    assert hashkit.sync(album, None, encoder, reporter=notes).encoded == 0
    assert [title for title in notes.titles if "reading" not in title] == ["updating album.h5"]


def test_every_change_of_a_folder_in_one_sync(album, path, sync, encoder):
    assert sync(dry_run=True) == ({"added": 5}, 5)
    assert not path.exists()
    assert sync() == ({"added": 5}, 5)
    hashkit.MultiIndex.build(hashkit.Bank.open(path)).save(index_path(path))
    assert sync() == ({"unchanged": 5}, 0)

    (album / "trip").mkdir()
    (album / "0.png").rename(album / "trip" / "renamed.png")
    draw(album / "1.png", 11)
    (album / "2.png").unlink()
    shutil.copy(album / "3.png", album / "copy.png")
    os.utime(album / "4.png", ns=(1, 1))
    draw(album / "trip" / "new.png", 12)
    expected = {"added": 2, "changed": 1, "moved": 1, "removed": 1, "unchanged": 2}
    assert sync() == (expected, 2)  # the copy and the moved one keep their codes
    assert is_right(album, path, encoder)
    with hashkit.Bank.open(path) as bank:
        assert index_state(bank).n_rows == 5
        assert [source.root for source in bank.sources] == [str(album)]
    content = path.read_bytes()
    assert sync() == ({"unchanged": 6}, 0)
    assert path.read_bytes() == content
    assert sync(checksum=True) == ({"unchanged": 6}, 0)


def test_only_a_checksum_notices_a_file_of_the_same_size_and_time(album, path, sync, encoder):
    for seed in range(2):
        (album / f"{seed}.ppm").write_bytes(b"P6 2 2 255 " + bytes([seed * 99] * 12))
    sync()
    status = (album / "0.ppm").stat()
    shutil.copy(album / "1.ppm", album / "0.ppm")
    os.utime(album / "0.ppm", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert sync() == ({"unchanged": 7}, 0)
    assert sync(checksum=True) == ({"changed": 1, "unchanged": 6}, 0)
    assert live(path)["0.ppm"] == encoder.encode(album / "1.ppm").tobytes()


def test_a_file_that_comes_back_is_added_again_but_a_row_that_a_user_deleted_is_not(
    album, path, sync
):
    sync()
    (album / "0.png").rename(album.parent / "away.png")
    assert sync() == ({"removed": 1, "unchanged": 4}, 0)
    (album.parent / "away.png").rename(album / "0.png")
    assert sync() == ({"added": 1, "unchanged": 4}, 0)

    with hashkit.Bank.open(path) as bank:
        rows = rows_named(bank.names, ["0.png", "1.png"])
    hashkit.delete_rows(path, [*rows["0.png"], *rows["1.png"]])
    os.utime(album / "1.png", ns=(1, 1))
    assert sync() == ({"unchanged": 3}, 0)
    assert set(live(path)) == {"2.png", "3.png", "4.png"}
    draw(album / "1.png", 11)
    assert sync() == ({"added": 1, "unchanged": 3}, 1)


def test_an_unplugged_disk_deletes_nothing(album, path, sync, encoder):
    sync()
    away = album.rename(album.parent / "away")
    with pytest.raises(DatasetError, match="no such folder"):
        sync()
    album.mkdir()
    with pytest.raises(BankError, match=r"found none of them.*`allow_removals=True`"):
        sync()
    for seed in (0, 1):
        shutil.copy2(away / f"{seed}.png", album)
    with pytest.raises(BankError, match="found 3 missing"):
        sync(dry_run=True)
    assert len(live(path)) == 5
    assert sync(allow_removals=True) == ({"removed": 3, "unchanged": 2}, 0)
    # Moved images are not missing, however many they are.
    album.rename(away / "sub")
    away.rename(album)
    for seed in (2, 3, 4):
        (album / f"{seed}.png").unlink()
    (album / "0.png").unlink()
    (album / "1.png").unlink()
    assert sync() == ({"moved": 2}, 0)
    assert is_right(album, path, encoder)


def test_faults_are_listed_each_time_and_rows_of_broken_images_go(album, path, sync):
    (album / "broken.png").write_bytes(b"no image")
    sync()
    for _ in range(2):
        assert sync() == ({"unchanged": 5}, 0)
        assert [(one.name, one.reason) for one in read_faults(path)] == [("broken.png", "broken")]
    (album / "broken.png").unlink()
    (album / "0.png").write_bytes(b"overwritten")
    assert sync() == ({"removed": 1, "unchanged": 4}, 0)
    assert [one.name for one in read_faults(path)] == ["0.png"]
    for seed in (1, 2, 3):
        (album / f"{seed}.png").write_bytes(b"overwritten, too")
    with pytest.raises(BankError, match="found 3 missing"):
        sync()
    assert len(live(path)) == 4


def test_files_that_vanish_or_grow_while_they_are_read_are_faults(
    album, path, sync, encoder, monkeypatch
):
    sync()
    draw(album / "1.png", 11)
    draw(album / "new.png", 12)
    list_folder = sync_module.list_folder

    def listed(folder):
        listing = list_folder(folder)
        (album / "1.png").unlink()
        (album / "new.png").unlink()
        return listing

    monkeypatch.setattr(sync_module, "list_folder", listed)
    assert sync(foretold=False) == ({"unchanged": 5}, 0)
    assert {one.reason for one in read_faults(path)} == {"missing"}
    monkeypatch.undo()
    assert sync() == ({"removed": 1, "unchanged": 4}, 0)
    assert is_right(album, path, encoder)


def test_an_interrupted_sync_keeps_its_rows_and_continues(album, path, sync, encoder, dies):
    for seed in range(5, 30):
        draw(album / f"{seed}.png", seed)
    dies(3)
    with pytest.raises(KeyboardInterrupt):
        sync()
    n_kept = len(live(path))
    assert 8 <= n_kept < 30  # batches are small, so that a small folder keeps something too
    dies(0)
    assert sync() == ({"added": 30 - n_kept, "unchanged": n_kept}, 30 - n_kept)
    assert is_right(album, path, encoder)


def test_another_model_replaces_the_bank_at_the_end(album, path, sync, tmp_path, dies):
    other = linear_model(tmp_path / "other.onnx", n_bits=16, height=8, width=8, seed=1)
    other = Encoder.load(other, device="cpu")
    sync()
    hashkit.delete_rows(path, [0])
    before = live(path)
    draw(album / "new.png", 12)
    dies(3)
    with pytest.raises(KeyboardInterrupt):
        sync(model=other, batch_size=1)
    assert live(path) == before
    assert beside_path(path).exists()
    dies(0)
    counts, n_encoded = sync(model=other, foretold=False)
    assert counts == {"added": 1, "unchanged": 4}
    assert n_encoded < 6  # the others were encoded before the interruption
    assert set(live(path)) == {"1.png", "2.png", "3.png", "4.png", "new.png"}
    assert {len(code) for code in live(path).values()} == {2}
    assert sorted(one.name for one in album.parent.glob("album.*")) == [
        "album.h5",
        "album.h5.lock",
    ]
    assert sync(model=other) == ({"unchanged": 5}, 0)


@pytest.mark.parametrize("has_files", [True, False])
def test_a_bank_of_encode_is_taken_over(album, path, sync, encoder, dies, has_files):
    """A bank that stores nothing about its files is made again, as they may have changed."""
    bank = hashkit.encode(album, encoder, album.parent / "encoded.h5")
    header = bank.header
    if has_files:
        shutil.copy(bank.path, path)
    else:
        from dataclasses import replace

        size = {"n_rows": 5, "n_name_bytes": 25}
        with BankWriter.create(path, replace(header, has_files=False), **size) as writer:
            codes = bank.codes.copy()
            codes[4] = 0  # an image that has changed
            writer.write(codes, list(bank.names), n_consumed=5)
            writer.complete()
    hashkit.delete_rows(path, [0])
    expected = {"unchanged": 4} if has_files else {"unchanged": 3, "changed": 1}
    assert sync(foretold=has_files) == (expected, 0 if has_files else 5)
    assert set(live(path)) == {"1.png", "2.png", "3.png", "4.png"}
    assert sync() == ({"unchanged": 4}, 0)


def test_an_interrupted_encoding_is_continued(album, path, sync, encoder, dies):
    dies(3)
    with pytest.raises(KeyboardInterrupt):
        hashkit.encode(album, encoder, path, batch_size=1)
    dies(0)
    n_done = len(live(path))
    assert sync() == ({"added": 5 - n_done, "unchanged": n_done}, 5 - n_done)
    assert is_right(album, path, encoder)
    with pytest.raises(BankMismatchError, match="hashkit sync"):
        hashkit.encode(album, encoder, path)


def test_banks_of_something_else_are_refused(album, sync, encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"needs a model.*lite0"):
        sync(model=None)
    bare = tmp_path / "bare.h5"
    hashkit.save_codes(bare, hashkit.CodeSet(np.zeros((3, 2), np.uint8), 12))
    with pytest.raises(BankMismatchError, match="found one without names"):
        sync(bare, allow_removals=True)
    split = hashkit.encode(album, encoder, tmp_path / "s.h5", protocol="random", part="queries")
    with pytest.raises(BankMismatchError, match=r"expected a bank of one folder.* split"):
        sync(split.path)
    other = tmp_path / "other"
    draw(other / "z.png", 77)
    two = tmp_path / "two.h5"
    hashkit.encode(other, encoder, two)
    hashkit.encode(album, encoder, two, append=True)
    with pytest.raises(BankMismatchError, match=r"images of .*album and .*other"):
        sync(two)


def test_a_bank_never_replaces_an_image_and_a_synced_one_is_replaced_with_a_warning(
    album, path, sync, encoder, tmp_path
):
    Image.new("RGB", (4, 4)).save(tmp_path / "mine.webp")
    before = (tmp_path / "mine.webp").read_bytes()
    for name in ("new.jpg", "mine.webp"):
        with pytest.raises(BankError, match="expected"):
            sync(tmp_path / name)
        with pytest.raises(BankError, match="found the name of an image"):
            hashkit.encode(album, encoder, tmp_path / name, overwrite=True)
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(BankError, match="not replaced"):
        hashkit.encode(album, encoder, tmp_path / "notes", overwrite=True)
    assert (tmp_path / "mine.webp").read_bytes() == before
    assert not (tmp_path / "new.jpg").exists()

    sync()
    notes = Kept()
    hashkit.encode(album, encoder, path, overwrite=True, reporter=notes)
    assert f"warning: hashkit sync kept {path} up to date with {album}" in notes.text


def test_rows_that_were_added_by_hand_are_kept(album, path, sync):
    sync()
    with BankEditor.open(path) as editor:
        editor.apply(np.zeros((1, 2), np.uint8), ["by hand"])
    assert sync() == ({"unchanged": 6}, 0)
    assert "by hand" in live(path)


def test_a_folder_that_moved_keeps_its_bank(album, path, sync, encoder):
    sync()
    moved = album.rename(album.parent / "moved")
    notes = Kept()
    report = hashkit.sync(moved, path, encoder, reporter=notes)
    assert report.unchanged == 5
    assert "was made from" in notes.text
    with hashkit.Bank.open(path) as bank:
        assert bank.header.source.root == str(moved)


def test_another_version_of_pillow_is_refused_unless_it_is_allowed(album, path, sync, monkeypatch):
    sync()
    monkeypatch.setattr("hashkit.runtimes.pipeline.resampler", lambda: "Pillow 0.1")
    assert sync() == ({"unchanged": 5}, 0)
    draw(album / "new.png", 12)
    with pytest.raises(BankMismatchError, match=r"Pillow 0\.1.*`allow_other_provider=True`"):
        sync()
    assert sync(allow_other_provider=True) == ({"added": 1, "unchanged": 5}, 1)
    with hashkit.Bank.open(path) as bank:
        assert bank.header.resampler.endswith(", Pillow 0.1")


def test_new_images_of_a_labelled_folder_get_labels(album, path, sync, encoder):
    for name in ("cat/a.png", "dog/b.png", "dog/c.png"):
        draw(album / name, len(name) + ord(name[4]))
    for seed in range(5):
        (album / f"{seed}.png").unlink()
    hashkit.encode(album, encoder, path, labels="folders")
    draw(album / "cat" / "new.png", 12)
    draw(album / "cow" / "new.png", 13)
    (album / "dog" / "b.png").rename(album / "loose.png")
    assert sync() == ({"added": 2, "moved": 1, "unchanged": 2}, 2)
    with hashkit.Bank.open(path) as bank:
        labels = dict(zip(bank.names, bank.labels.tolist(), strict=True))
    expected = {"cat/a.png": 0, "cat/new.png": 0, "cow/new.png": -1, "dog/c.png": 1}
    assert labels == expected | {"dog/b.png": 1, "loose.png": -1}


def test_the_model_that_made_the_bank_is_found_beside_it_or_in_a_run(
    album, path, sync, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    model = linear_model(tmp_path / "runs" / "mine" / "model.onnx", height=8, width=8)
    sync(model=model)
    draw(album / "new.png", 12)
    linear_model(tmp_path / "model.onnx", height=8, width=8, seed=1)
    assert sync(model=None) == ({"added": 1, "unchanged": 5}, 1)
    model.unlink()
    assert sync(model=None) == ({"unchanged": 6}, 0)  # no model is needed
    draw(album / "newer.png", 13)
    with pytest.raises(ConfigError, match=r"not found beside the bank or in runs/.*`model=...`"):
        sync(model=None)


class CancelledError(Exception):
    """What a program raises in a reporter to stop a task."""


def test_a_reporter_stops_a_sync_and_the_same_call_continues_it(album, path, encoder):
    threads = set()

    class Window(Kept):
        @contextlib.contextmanager
        def progress(self, *_, **__):
            yield self

        def update(self, done, detail=""):  # noqa: ARG002
            threads.add(threading.get_ident())
            if done >= 4:
                raise CancelledError

    with pytest.raises(CancelledError):
        hashkit.sync(album, path, encoder, batch_size=2, num_workers=1, reporter=Window())
    assert threads == {threading.get_ident()}
    with hashkit.Bank.open(path) as bank:
        assert len(bank) == 4
    assert hashkit.sync(album, path, encoder, num_workers=1).encoded == 1
