from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from albums import FIVE, append, draw, names_of
from kept_reporter import Kept
from linear_models import linear_model

import hashkit
from hashkit.bank.deletion import delete_rows
from hashkit.errors import BankError, BankMismatchError
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import faults_path, read_faults


def test_only_new_images_are_appended(album, bank, encoder):
    draw(album / "10.png", 10)
    draw(album / "new" / "11.png", 11)
    names, notes = append(album, encoder, bank)
    assert names == [*FIVE, "10.png", "new/11.png"]
    assert "5 of 7 images" in notes
    assert "encoding 2" in notes
    before = bank.read_bytes()
    names, notes = append(album, encoder, bank)
    assert "nothing to encode" in notes
    assert bank.read_bytes() == before
    draw(album / "0a.png", 12)
    assert append(album, encoder, bank)[0] == [*FIVE, "10.png", "new/11.png", "0a.png"]


def test_the_codes_are_those_of_the_images(album, bank, encoder):
    draw(album / "00.png", 10)
    append(album, encoder, bank)
    for name, code in zip(names_of(bank), hashkit.Bank.open(bank).codes, strict=True):
        np.testing.assert_array_equal(code, encoder.encode([album / name])[0])


def test_a_grown_bank_is_complete(album, bank, encoder):
    draw(album / "00.png", 10)
    append(album, encoder, bank)
    before = bank.read_bytes()
    notes = Kept()
    hashkit.encode(album, encoder, bank, reporter=notes)
    assert "nothing to encode" in notes.text
    assert bank.read_bytes() == before


@pytest.mark.parametrize("spelling", ["relative", "dots", "link", "slash"])
def test_a_folder_is_the_same_by_any_path(spelling, album, bank, encoder, monkeypatch):
    monkeypatch.chdir(album.parent)
    (album.parent / "other").mkdir()
    if spelling == "link":
        Path("link").symlink_to(album, target_is_directory=True)
    path = {"relative": "album", "dots": "other/../album", "link": "link", "slash": f"{album}/"}
    hashkit.encode(path[spelling], encoder, bank)
    names, _ = append(path[spelling], encoder, bank)
    assert names == FIVE
    draw(album / "9.png", 9)
    assert append(path[spelling], encoder, bank)[0] == [*FIVE, "9.png"]


def test_another_folder_with_the_same_names_is_another_source(album, bank, encoder):
    other = album.parent / "other"
    for seed in range(5, 8):
        draw(other / f"{seed - 5}.png", seed)
    assert append(other, encoder, bank)[0] == [*FIVE, *FIVE[:3]]
    draw(album / "3a.png", 20)
    draw(other / "3.png", 21)
    assert append(other, encoder, bank)[0][8:] == ["3.png"]
    assert append(album, encoder, bank)[0][9:] == ["3a.png"]
    assert append(album, encoder, bank)[0] == append(other, encoder, bank)[0]


def test_a_grown_folder_that_is_not_appended_is_refused_with_the_remedy(album, bank, encoder):
    draw(album / "10.png", 10)
    (album / "0.png").unlink()
    with pytest.raises(BankMismatchError, match=r"1 that are new and 1 fewer: .*append=True"):
        hashkit.encode(album, encoder, bank)
    assert names_of(bank) == FIVE


def test_images_that_are_gone_are_reported(album, bank, encoder):
    (album / "0.png").unlink()
    names, notes = append(album, encoder, bank)
    assert names == FIVE
    assert "warning: 1 row" in notes
    assert "no longer in" in notes


def test_an_image_that_changed_under_its_name_is_reported(album, bank, encoder):
    before = (album / "2.png").stat()
    draw(album / "2.png", 99)
    os.utime(album / "2.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    for settings in ({}, {"append": True}):
        notes = Kept()
        hashkit.encode(album, encoder, bank, reporter=notes, **settings)
        assert "warning: 1 image changed" in notes.text
        assert "2.png" in notes.text
    assert names_of(bank) == FIVE


def test_a_file_that_was_only_copied_again_has_not_changed(album, bank, encoder):
    for name in FIVE:
        os.utime(album / name, ns=(10**18, 10**18))
    assert "changed" not in append(album, encoder, bank)[1]


def test_a_changed_image_whose_row_is_deleted_is_encoded_again(album, bank, encoder):
    draw(album / "2.png", 99)
    delete_rows(bank, [1, 2])
    names, notes = append(album, encoder, bank)
    assert names == [*FIVE, "2.png"]  # 1.png was deleted on purpose and is the same
    assert "warning" not in notes
    assert append(album, encoder, bank)[0] == names


def test_a_bank_that_does_not_keep_files_says_so(album, bank, encoder):
    golden = Path(__file__).parents[1] / "golden"
    assert golden.is_dir()
    from hashkit.datasets.folders import open_image_folder
    from hashkit.workflow.grown_sources import _report_changes, compare_source

    class Old:
        """A bank without the columns of files."""

        files = None
        deleted = None
        path = bank

    images = open_image_folder(album)
    notes = Kept()
    state = compare_source(images, hashkit.Bank.open(bank))
    _report_changes(images, state, Old(), notes)  # type: ignore[arg-type]
    assert "are not detected" in notes.text


def test_images_that_could_not_be_used_are_tried_again_once_they_can(album, encoder):
    (album / "bad.png").write_bytes(b"no image")
    bank = album.parent / "bank.h5"
    hashkit.encode(album, encoder, bank)
    assert "nothing to encode" in append(album, encoder, bank)[1]
    assert len(read_faults(bank)) == 1
    draw(album / "bad.png", 7)
    assert append(album, encoder, bank)[0] == [*FIVE, "bad.png"]
    assert append(album, encoder, bank)[0] == [*FIVE, "bad.png"]


def test_appending_nothing_but_broken_images_leaves_a_complete_bank(album, bank, encoder):
    (album / "bad.png").write_bytes(b"no image")
    names, _ = append(album, encoder, bank)
    assert names == FIVE
    assert hashkit.Bank.open(bank).is_complete
    draw(album / "6.png", 6)
    assert append(album, encoder, bank)[0] == [*FIVE, "6.png"]
    assert [fault.name for fault in read_faults(bank)] == ["bad.png"]


def test_another_model_is_refused_even_if_nothing_is_new(album, bank, tmp_path):
    other = Encoder.load(
        linear_model(tmp_path / "other.onnx", height=8, width=8, seed=5), device="cpu"
    )
    with pytest.raises(BankMismatchError, match="codes of the model"):
        append(album, other, bank)


def interrupted(album: Path, bank: Path, encoder: Encoder) -> None:
    """Append new images, and stop after the first batch."""

    class StoppedError(Exception):
        pass

    class Stopping(Kept):
        def update(self, done, detail=""):  # noqa: ARG002
            if done:
                raise StoppedError

    with pytest.raises(StoppedError):
        hashkit.encode(album, encoder, bank, append=True, reporter=Stopping(), batch_size=2)
    assert not hashkit.Bank.open(bank).is_complete


@pytest.mark.parametrize("append_again", [True, False])
def test_an_interrupted_append_is_continued(append_again, album, bank, encoder):
    for seed in range(6, 12):
        draw(album / f"new{seed}.png", seed)
    interrupted(album, bank, encoder)
    assert 5 < len(hashkit.Bank.open(bank)) < 11
    hashkit.encode(album, encoder, bank, append=append_again)
    assert names_of(bank) == sorted(path.name for path in album.iterdir())
    assert append(album, encoder, bank)[0] == names_of(bank)


def test_an_interrupted_append_of_a_folder_that_changed_again_is_continued(album, bank, encoder):
    for seed in range(6, 12):
        draw(album / f"new{seed}.png", seed)
    interrupted(album, bank, encoder)
    before = names_of(bank)
    draw(album / "newer.png", 30)
    names, notes = append(album, encoder, bank)
    assert "has changed since its encoding was interrupted" in notes
    assert names[: len(before)] == before
    assert sorted(names) == sorted(path.name for path in album.iterdir())
    assert append(album, encoder, bank)[0] == names


def test_an_interrupted_bank_of_a_folder_that_changed_keeps_its_rows(album, encoder):
    """The same command goes on, whatever was added, removed or could not be used."""
    bank = album.parent / "bank.h5"
    (album / "00.png").write_bytes(b"no image")
    interrupted(album, bank, encoder)
    before = names_of(bank)
    assert before[0] == "0.png"
    draw(album / "newer.png", 30)
    (album / "4.png").unlink()
    hashkit.encode(album, encoder, bank)
    names = names_of(bank)
    assert names[: len(before)] == before
    assert sorted(names) == ["0.png", "1.png", "2.png", "3.png", "newer.png"]
    assert hashkit.Bank.open(bank).is_complete
    assert [fault.name for fault in read_faults(bank)] == ["00.png"]
    hashkit.encode(album, encoder, bank)
    assert names_of(bank) == names


def test_another_model_does_not_end_an_interrupted_list(album, encoder, tmp_path):
    bank = album.parent / "bank.h5"
    interrupted(album, bank, encoder)
    draw(album / "newer.png", 30)
    other = Encoder.load(
        linear_model(tmp_path / "other.onnx", height=8, width=8, seed=5), device="cpu"
    )
    before = bank.read_bytes()
    with pytest.raises(BankMismatchError, match="codes of the model"):
        hashkit.encode(album, other, bank)
    assert bank.read_bytes() == before


def test_labels_that_changed_are_refused(tmp_path, encoder):
    root = tmp_path / "photos"
    for seed in range(4):
        draw(root / f"{seed}.png", seed)
    path = tmp_path / "bank.h5"
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{seed}.png {seed % 2}\n" for seed in range(3)))
    hashkit.encode(listed, encoder, path, data_root=root)
    listed.write_text("".join(f"{seed}.png {seed % 2}\n" for seed in range(4)))
    assert append(listed, encoder, path, data_root=root)[0] == FIVE[:4]
    listed.write_text("".join(f"{seed}.png {(seed + 1) % 2}\n" for seed in range(4)))
    with pytest.raises(BankMismatchError, match="other labels of 4 images"):
        append(listed, encoder, path, data_root=root)


def test_a_list_of_faults_that_does_not_match_is_an_error(album, encoder):
    (album / "bad.png").write_bytes(b"no image")
    bank = album.parent / "bank.h5"
    hashkit.encode(album, encoder, bank)
    other = album.parent / "other"
    draw(other / "6.png", 6)
    append(other, encoder, bank)
    faults_path(bank).unlink()
    draw(other / "7.png", 7)
    with pytest.raises(BankError, match="cannot be matched: encode into another bank"):
        append(other, encoder, bank)


def test_the_real_path_is_stored(album, bank):
    with h5py.File(bank) as file:
        assert str(album.resolve()) in file.attrs["source"]


def test_a_folder_is_appended_to_after_images_were_added_from_elsewhere(album, bank, encoder):
    draw(album.parent / "upload.png", 30)
    hashkit.add(bank, [album.parent / "upload.png"], ["upload.png"], model=encoder)
    draw(album / "00.png", 10)
    assert append(album, encoder, bank)[0] == [*FIVE, "upload.png", "00.png"]
    assert append(album, encoder, bank)[0] == [*FIVE, "upload.png", "00.png"]
