"""Images whose content a bank already has are not written again without a message."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from albums import FIVE, append, draw, names_of
from kept_reporter import Kept

import hashkit
from hashkit.bank.deletion import delete_rows
from hashkit.datasets.folders import open_image_folder
from hashkit.errors import BankMismatchError
from hashkit.workflow.copied_images import check_copies, copied_images


@pytest.mark.parametrize("how", ["renamed", "copied", "a part", "other names", "other times"])
def test_a_folder_of_which_the_bank_has_all_images_is_refused(how, album, bank, encoder):
    other = album.with_name("other")
    shutil.copytree(
        album, other, copy_function=shutil.copy if how == "other times" else shutil.copy2
    )
    if how == "renamed":
        shutil.rmtree(album)
    elif how == "a part":
        (other / "0.png").unlink()
    elif how == "other names":
        for name in FIVE:
            (other / name).rename(other / f"new-{name}")
    before = bank.read_bytes()
    number = 4 if how == "a part" else 5
    with pytest.raises(
        BankMismatchError, match=f"has all {number} images of .*other already"
    ) as caught:
        append(other, encoder, bank)
    assert "`overwrite=True`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert bank.read_bytes() == before
    hashkit.encode(other, encoder, bank, overwrite=True)
    assert len(names_of(bank)) == number


def test_images_of_another_folder_that_the_bank_has_are_counted(album, bank, encoder):
    other = album.with_name("other")
    shutil.copytree(album, other)
    for seed in (6, 7):
        draw(other / f"{seed}.png", seed)
    names, notes = append(other, encoder, bank)
    assert "warning" in notes
    assert "has 5 of 7 images" in notes
    assert "(for example 0.png in row 0)" in notes
    assert names == [*FIVE, *FIVE, "6.png", "7.png"]


def test_an_image_that_moved_within_its_folder_is_counted(album, bank, encoder):
    (album / "0.png").rename(album / "moved.png")
    names, notes = append(album, encoder, bank)
    assert names == [*FIVE, "moved.png"]
    assert "has 1 of 5 images" in notes
    assert "(for example moved.png in row 0)" in notes


def test_new_images_and_deleted_ones_are_added_without_a_note(album, bank, encoder):
    other = album.with_name("other")
    draw(other / "0.png", 20)
    assert "already, by their content" not in append(other, encoder, bank)[1]
    again = album.with_name("again")
    shutil.copytree(album, again)
    delete_rows(bank, range(5))
    names, notes = append(again, encoder, bank)
    assert names == [*FIVE, "0.png", *FIVE]
    assert "already, by their content" not in notes


def test_an_interrupted_append_is_not_compared_with_itself(album, bank, encoder):
    """The images of the list that goes on are in the bank, as they should be."""
    other = album.with_name("other")
    for seed in range(6, 10):
        draw(other / f"{seed}.png", seed)
    append(other, encoder, bank)
    assert "nothing to encode" in append(other, encoder, bank)[1]


def test_a_bank_without_digests_says_that_it_cannot_tell(album, bank):
    class Old:
        """A bank without the columns of files."""

        files = None
        path = bank

    images, notes = open_image_folder(album), Kept()
    check_copies(images, Old(), notes)  # type: ignore[arg-type]
    assert "are not detected" in notes.text
    assert copied_images(images, np.arange(5), Old()) == []  # type: ignore[arg-type]
