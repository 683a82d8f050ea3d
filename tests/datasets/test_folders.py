from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import published_sets
import pytest

from hashkit.datasets.folders import open_image_folder
from hashkit.errors import DatasetError
from hashkit.imaging.formats import IMAGE_SUFFIXES

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


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_folder_or_image_that_links_lead_to_is_taken_once(tmp_path, caplog):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for path in (root / "z/1.png", root / "2.png", elsewhere / "3.png", elsewhere / "in/4.png"):
        write(path)
    (root / "a").symlink_to("z")  # sorted before its target, but names are the target's
    (root / "b").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere / "in")
    (root / "best.png").symlink_to("z/1.png")
    (root / "z" / "best.png").symlink_to("../2.png")
    (root / "first.png").symlink_to(elsewhere / "3.png")
    (tmp_path / "lone.png").write_bytes((root / "2.png").read_bytes())
    for name in ("lone.png", "lone-2.png"):
        (root / name).symlink_to(tmp_path / "lone.png")
    line, _ = left_out(root, caplog)
    assert line.endswith("left out 6 links to folders and images that are read without them")
    assert open_image_folder(root).names == [
        "2.png", "b/3.png", "b/in/4.png", "lone-2.png", "z/1.png"
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_that_are_not_utf8_are_skipped_with_a_warning(tmp_path, caplog):
    write(tmp_path / "good.png")
    (tmp_path / "good.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    write(tmp_path / "tee\u0301.png")
    with caplog.at_level(logging.WARNING):
        images = open_image_folder(tmp_path)
    assert images.names == ["tee\u0301.png"]
    assert "left out 1 image with a name that is not UTF-8" in caplog.text
    assert r"caf\udce9.png" in caplog.text


def test_loose_images_and_albums_are_one_set_without_labels(tmp_path, caplog):
    names = ["album/c.jpg", "album/deep/d.jpg", "b.png", "other album/e.jpeg"]
    for name in names:
        write(tmp_path / name)
    with caplog.at_level(logging.WARNING):
        images = open_image_folder(tmp_path)
    assert images.names == names
    assert images.labels is None
    assert images.class_names == ()
    (record,) = caplog.records
    assert "(for example b.png) beside its folders" in record.getMessage()


def test_every_suffix_is_read_in_any_case(tmp_path, caplog):
    names = sorted(f"{n}{suffix}" for n, suffix in enumerate(IMAGE_SUFFIXES))
    names += ["x.JFIF", "y.Avif"]
    for name in names:
        (tmp_path / name).touch()
    assert open_image_folder(tmp_path).names == sorted(names)
    assert not caplog.records


def left_out(folder, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        open_image_folder(folder)
    return [record.getMessage() for record in caplog.records]


def test_other_files_are_counted_by_suffix(tmp_path, caplog):
    write(tmp_path / "a.png")
    for name in ("a.txt", "b.TXT", "c.mov", "README", "e.a long one", "f.tar.gz"):
        (tmp_path / name).write_text("no image")
    (line,) = left_out(tmp_path, caplog)
    assert line.endswith(
        "left out files that are not read as images: "
        "2 without a known suffix, 2 .txt, 1 .gz, 1 .mov"
    )
    for number in range(10):
        (tmp_path / f"x.s{number}").write_text("no image")
    (line,) = left_out(tmp_path, caplog)
    assert line.endswith(" others")


def test_images_that_need_an_extra_come_with_the_command(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    write(tmp_path / "a.png")
    for name in ("b.heic", "c.HEIC", "d.heif"):
        (tmp_path / name).write_bytes(b"any")
    (line,) = left_out(tmp_path, caplog)
    assert "left out 2 .heic, 1 .heif: to read these images" in line
    assert "[heic]" in line
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"found none; left out 2 \.heic.*\[heic\]"):
        open_image_folder(tmp_path)


def test_images_that_need_an_extra_are_read_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "pillow_heif")
    (tmp_path / "b.HEIC").touch()
    assert open_image_folder(tmp_path).names == ["b.HEIC"]


def test_images_without_an_image_suffix_are_noticed(tmp_path, caplog):
    for name in ("a.png", "b.png", "c.jpg", "d.tif"):
        write(tmp_path / name)
    (tmp_path / "b.png").rename(tmp_path / "IMG_1")
    (tmp_path / "c.jpg").rename(tmp_path / "c.jpg_original")
    (tmp_path / "d.tif").rename(tmp_path / "d.nef")  # raw files of cameras look like TIFF
    disguised, others = left_out(tmp_path, caplog)
    assert "left out 2 images without an image suffix (for example IMG_1)" in disguised
    assert others.endswith(": 1 .nef")
    assert open_image_folder(tmp_path).names == ["a.png"]


def test_hidden_images_are_counted(tmp_path, caplog):
    for name in ("a.png", ".b.png", "._c.png", ".thumbs/d.png"):
        write(tmp_path / name)
    (tmp_path / ".DS_Store").touch()
    (line,) = left_out(tmp_path, caplog)
    assert line.endswith("left out 1 image hidden by a dot at the start of the name")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_is_not_waited_for(tmp_path, caplog):
    write(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    (line,) = left_out(tmp_path, caplog)
    assert line.endswith("1 without a known suffix")
    assert open_image_folder(tmp_path).names == ["a.png", "pipe.png"]


def test_a_subfolder_that_may_not_be_read_is_reported(tmp_path, caplog, monkeypatch):
    for name in ("a.png", "closed/b.png"):
        write(tmp_path / name)
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("os.scandir", guarded)
    (line,) = left_out(tmp_path, caplog)
    assert "left out 1 folder without permission to read (for example closed/)" in line
    with pytest.raises(DatasetError, match="closed: cannot be read"):
        open_image_folder(tmp_path / "closed")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_the_root_is_the_real_path(tmp_path, monkeypatch):
    write(tmp_path / "album" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "album")
    monkeypatch.chdir(tmp_path)
    for path in ("album", "link", "album/../album", str(tmp_path / "album")):
        assert open_image_folder(Path(path)).root == (tmp_path / "album").resolve()
    assert open_image_folder(Path("link")).name == "link"
