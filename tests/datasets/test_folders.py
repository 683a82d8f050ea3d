from __future__ import annotations

import logging
import os
import sys

import published_sets
import pytest

from hashkit.datasets.folders import open_image_folder
from hashkit.errors import DatasetError

write = published_sets.write_image


def test_a_flat_folder_has_no_labels(tmp_path):
    for name in ("b.png", "a.JPG", "c.webp"):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    images = open_image_folder(tmp_path)
    assert images.names == ["a.JPG", "b.png", "c.webp"]
    assert images.labels is None
    assert images.class_names == ()
    assert images.name == tmp_path.name
    assert all(images.source(row).is_file() for row in range(3))


def test_class_folders_are_read_recursively_and_sorted(tmp_path):
    for name in ("zebra/1.png", "ant/deep/er/2.png", "ant/10.png", "ant/9.png"):
        write(tmp_path / name)
    (tmp_path / "empty").mkdir()
    images = open_image_folder(tmp_path)
    assert images.names == ["ant/10.png", "ant/9.png", "ant/deep/er/2.png", "zebra/1.png"]
    assert images.class_names == ("ant", "zebra")
    assert images.labels.tolist() == [0, 0, 0, 1]
    assert images.is_test is None


def test_train_and_test_become_is_test(tmp_path):
    for name in ("train/a/1.png", "train/b/2.png", "test/a/1.png", "test/b/3.png"):
        write(tmp_path / name)
    images = open_image_folder(tmp_path)
    assert images.names == ["test/a/1.png", "test/b/3.png", "train/a/1.png", "train/b/2.png"]
    assert images.class_names == ("a", "b")
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.is_test.tolist() == [True, True, False, False]


def test_train_and_test_may_be_classes(tmp_path):
    for name in ("train/1.png", "test/1.png"):
        write(tmp_path / name)
    images = open_image_folder(tmp_path)
    assert images.class_names == ("test", "train")
    assert images.is_test is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a/1.png", "test/b/1.png"), "same class folders in train/ and test/.*a, b"),
        (("train/a/1.png", "test/a/1.png", "val/a/1.png"), "also found val"),
        (("a/1.png", "2.png"), "found both .*2.png"),
        ((), "found none"),
    ],
)
def test_ambiguous_or_empty_folders_are_refused(tmp_path, names, message):
    for name in names:
        write(tmp_path / name)
    with pytest.raises(DatasetError, match=message) as info:
        open_image_folder(tmp_path)
    assert "\n" not in str(info.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="found no such folder"):
        open_image_folder(tmp_path / "nowhere")


def test_hidden_files_and_folders_are_skipped(tmp_path):
    for name in ("a/1.png", "a/._1.png", ".cache/2.png", "a/.thumbs/3.png"):
        write(tmp_path / name)
    assert open_image_folder(tmp_path).names == ["a/1.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_except_in_cycles(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    write(root / "a" / "1.png")
    write(elsewhere / "2.png")
    (root / "b").symlink_to(elsewhere)
    (root / "a" / "up").symlink_to(root)
    (elsewhere / "self").symlink_to(elsewhere)
    (root / "a" / "nothing").symlink_to(root / "gone")
    (root / "a" / "loop").symlink_to(root / "a" / "loop")
    # A folder is never entered again below itself, whatever path leads to it.
    assert open_image_folder(root).names == ["a/1.png", "b/2.png"]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_that_are_not_utf8_are_skipped_with_a_warning(tmp_path, caplog):
    write(tmp_path / "good.png")
    (tmp_path / "good.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    write(tmp_path / "tee\u0301.png")
    with caplog.at_level(logging.WARNING):
        images = open_image_folder(tmp_path)
    assert images.names == ["tee\u0301.png"]
    assert "skipped 1 images" in caplog.text
    assert r"caf\udce9.png" in caplog.text
