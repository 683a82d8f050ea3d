"""The images of a folder as they are now."""

import os
import sys

import numpy as np
import pytest

from hashkit.collection.listing import list_folder
from hashkit.errors import DatasetError

links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


def write(path, size=3, time=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    if time is not None:
        os.utime(path, ns=(time, time))


def test_names_sizes_and_times_of_loose_pictures_and_albums(tmp_path):
    write(tmp_path / "a.JPG", 5, 1_700_000_000_123_456_789)
    write(tmp_path / "trip" / "day 1" / "b.png", 0, 7)
    for other in ("notes.txt", ".hidden.jpg", ".cache/c.jpg", "album.h5"):
        write(tmp_path / other)
    listing = list_folder(tmp_path)
    order = np.argsort(listing.names)
    assert [listing.names[at] for at in order] == ["a.JPG", "trip/day 1/b.png"]
    assert listing.sizes[order].tolist() == [5, 0]
    assert listing.mtimes_ns[order].tolist() == [1_700_000_000_123_456_789, 7]
    assert (listing.faults, listing.unknown) == ((), ())
    assert any("1 .h5, 1 .txt" in line for line in listing.left_out)
    assert (listing.sizes.dtype, listing.mtimes_ns.dtype) == (np.uint64, np.int64)


def test_a_folder_that_is_missing_is_refused_and_an_empty_one_is_empty(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        list_folder(tmp_path / "nowhere")
    assert len(list_folder(tmp_path)) == 0


@links
def test_a_folder_is_listed_once_by_its_own_path_or_by_the_first_link(tmp_path):
    write(tmp_path / "elsewhere" / "1.png")
    root = tmp_path / "root"
    write(root / "real" / "2.png")
    (root / "a link").symlink_to(root / "real")
    (root / "real" / "up").symlink_to(root)
    for name in ("z", "c", "real/b"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "self").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "way").symlink_to(root)
    listing = list_folder(tmp_path / "way")
    assert sorted(listing.names) == ["c/1.png", "real/2.png"]
    assert listing.folder == root.resolve()


@links
def test_links_that_lead_nowhere_are_faults_or_unknown(tmp_path):
    write(tmp_path / "good.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "disk" / "1.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "disk 2").symlink_to(tmp_path / "unmounted")
    listing = list_folder(tmp_path)
    assert listing.names == ["good.png"]
    assert {(fault.name, fault.reason) for fault in listing.faults} == {
        ("gone.png", "missing"),
        ("loop.png", "missing"),
    }
    assert [listing.is_unknown(name) for name in ("loop.png", "disk 2/a/b.png", "disk 2b.png")] == [
        True,
        True,
        False,
    ]
    assert not listing.is_unknown("gone.png")
    assert any("1 broken link" in line for line in listing.left_out)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_of_other_bytes_are_faults_and_unicode_forms_are_two_names(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
    write(tmp_path / "tee\u0301.png")
    write(tmp_path / "te\xe9.png", 4)
    listing = list_folder(tmp_path)
    assert sorted(listing.names) == ["tee\u0301.png", "te\xe9.png"]
    assert sorted(listing.sizes.tolist()) == [3, 4]
    (fault,) = listing.faults
    assert fault.name == os.fsdecode(b"caf\xe9.png")
    assert "not UTF-8" in fault.message
    assert fault.to_json().isascii()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_unknown(tmp_path):
    write(tmp_path / "private" / "1.png")
    write(tmp_path / "2.png")
    (tmp_path / "private").chmod(0)
    try:
        listing = list_folder(tmp_path)
    finally:
        (tmp_path / "private").chmod(0o700)
    assert listing.names == ["2.png"]
    assert listing.is_unknown("private/1.png")
    assert [fault.name for fault in listing.faults] == ["private/"]


def test_images_that_need_an_extra_which_is_gone_are_unknown(tmp_path, monkeypatch):
    from hashkit.datasets import walking

    write(tmp_path / "a.heic")
    write(tmp_path / "b.png")
    monkeypatch.setattr(walking, "readable_suffixes", lambda: {".png"})
    listing = list_folder(tmp_path)
    assert listing.names == ["b.png"]
    assert listing.is_unknown("a.heic")
    assert any("[heic]" in line for line in listing.left_out)
