"""Image lists in Parquet files and tars."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hashkit
from hashkit.datasets.slices.containers import Places, container_names, find_containers
from hashkit.datasets.slices.entries import Listed
from hashkit.datasets.slices.listings import Listing
from hashkit.datasets.slices.parquets import ParquetContents, ParquetListing
from hashkit.datasets.slices.tars import TarContents, TarListing
from hashkit.errors import DatasetError, ImageError


def image(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [image(seed) for seed in range(7)]


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_parquet(path: Path, group: int = 3, **columns: list) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), path, row_group_size=group)
    return path


def places(listing: Listing) -> Places:
    entries = list(listing.entries())
    where = np.array([entry.place for entry in entries], np.int64).reshape(-1, 3)
    return Places(listing.files(), [entry.name for entry in entries], where)


def test_tars_give_images_and_labels_in_order(tmp_path, caplog):
    first = write_tar(
        tmp_path / "0.tar",
        [
            ("./a.jpg", IMAGES[0]),
            ("./a.cls", b"2\n"),
            ("./a.json", b"{}"),
            ("d/b.left.png", IMAGES[1]),
            ("d/b.right.png", IMAGES[2]),
            ("d/.hidden.png", IMAGES[2]),
        ],
    )
    second = write_tar(tmp_path / "1.tar", [("c.cls", b"bee"), ("c.png", IMAGES[3])])
    with tarfile.open(second, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("e.png")
            member.type, member.linkname = kind, "c.png"
            tar.addfile(member)
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    listing = TarListing(tmp_path, [first, second])
    entries = list(listing.entries())
    assert [(entry.name, entry.label) for entry in entries] == [
        ("0.tar/a.jpg", 2),
        ("0.tar/d/b.left.png", None),
        ("0.tar/d/b.right.png", None),
        ("1.tar/c.png", "bee"),
    ]
    assert "left out members that are not read as images: 3 links and devices" in caplog.text
    assert ", 1 .json, 1 hidden" in caplog.text
    assert "0 folder" not in caplog.text
    contents = TarContents(places(listing))
    assert [contents.read(row).data for row in (3, 0, 2)] == [IMAGES[3], IMAGES[0], IMAGES[2]]
    assert contents.subset(np.array([1])).read(0).data == IMAGES[1]


def test_tars_that_cannot_be_read(tmp_path, monkeypatch):
    whole = write_tar(tmp_path / "0.tar", [("a.png", IMAGES[0]), ("b.png", IMAGES[1])])
    contents = TarContents(places(TarListing(whole, [whole])))
    data = whole.read_bytes()
    whole.write_bytes(data[: 1536 + 100])
    with pytest.raises(DatasetError, match="cannot be read as an uncompressed tar"):
        list(TarListing(whole, [whole]).entries())
    with pytest.raises(ImageError, match="is cut off"):
        contents.read(1)
    whole.unlink()
    with pytest.raises(ImageError, match="there is no such file"):
        contents.read(0)
    long = write_tar(tmp_path / "1.tar", [("a.cls", b"x" * 2000), ("a.png", IMAGES[0])])
    with pytest.raises(DatasetError, match=r"expected a class number or a name in 'a\.cls'"):
        list(TarListing(long, [long]).entries())


def test_parquet_files_give_images_and_labels_in_order(tmp_path):
    structs = [{"bytes": data, "path": f"{n}.png" if n else None} for n, data in enumerate(IMAGES)]
    structs[4] = {"bytes": None, "path": None}
    first = write_parquet(
        tmp_path / "0.parquet", image=structs, label=["ant", None, *"bcdea"], other=[0] * 7
    )
    second = write_parquet(tmp_path / "1.parquet", image=IMAGES[:2], other=[b"", b""])
    listing = ParquetListing(tmp_path, [first, second], "", "")
    entries = list(listing.entries())
    assert entries[:2] == [
        Listed("0.parquet/0", "ant", (0, 0, 0)),
        Listed("0.parquet/1/1.png", None, (0, 0, 1)),
    ]
    assert entries[-1] == Listed("1.parquet/1", None, (1, 0, 1))
    contents = ParquetContents(places(listing), "")
    with pytest.raises(ImageError, match=r"0\.parquet/4: expected an image, found null"):
        contents.read(4)
    order = [5, 6, 3, 8, 0, 2, 1, 0]  # also against the order, and one twice
    expected = [*IMAGES, *IMAGES[:2]]
    assert [contents.read(row).data for row in order] == [expected[row] for row in order]


def test_columns_of_parquet_files(tmp_path):
    path = write_parquet(tmp_path / "0.parquet", jpg=IMAGES, png=IMAGES, kind=list(range(7)))
    with pytest.raises(DatasetError, match=r"expected a column image .* found jpg, png of that"):
        list(ParquetListing(path, [path], "", "").entries())
    found = list(ParquetListing(path, [path], "png", "kind").entries())
    assert [entry.label for entry in found] == list(range(7))
    assert next(ParquetListing(path, [path], "jpg", "").entries()).label is None
    with pytest.raises(DatasetError, match="expected a column kind with the bytes of images"):
        list(ParquetListing(path, [path], "kind", "").entries())
    with pytest.raises(DatasetError, match="expected a column jpg with whole numbers or names"):
        list(ParquetListing(path, [path], "png", "jpg").entries())


def test_labels_of_another_kind_are_left_out_with_a_warning(tmp_path, caplog):
    for labels in ([0.5] * 7, [True] * 7, [[1, 2]] * 7):
        path = write_parquet(tmp_path / "0.parquet", image=IMAGES, label=labels)
        assert {one.label for one in ParquetListing(path, [path], "", "").entries()} == {None}
        assert "the column label is left out: expected whole numbers" in caplog.text
        caplog.clear()
    contents = ParquetContents(places(ParquetListing(path, [path], "", "")), "")
    caplog.clear()
    contents.read(0)
    assert not caplog.text
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table([pyarrow.array(IMAGES)] * 2, names=["image", "image"])
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    with pytest.raises(DatasetError, match="expected one column image"):
        list(ParquetListing(path, [path], "", "").entries())


def test_a_small_parquet_file_has_a_limited_number_of_rows(tmp_path):
    """Nulls take no room: a file of 40 KB may have 20 million of them."""
    path = write_parquet(tmp_path / "0.parquet", 9999, image=[None, *[IMAGES[0]] * 2999, None])
    before = hashkit.set_limits(array_bytes=3_000_000)
    try:
        with pytest.raises(DatasetError, match=r"3,001 rows, counted as .*array_bytes=3073024"):
            list(ParquetListing(path, [path], "", "").entries())
    finally:
        hashkit.set_limits(array_bytes=before.array_bytes)
    assert len(list(ParquetListing(path, [path], "", "").entries())) == 3001


def test_a_damaged_parquet_file_is_the_fault_of_its_images(tmp_path):
    path = write_parquet(tmp_path / "0.parquet", image=IMAGES)
    contents = ParquetContents(places(ParquetListing(path, [path], "", "")), "")
    data = bytearray(path.read_bytes())
    at = data.index(IMAGES[1][:20])
    data[at - 8 : at + 4] = b"\xff" * 12  # the length of the value
    path.write_bytes(bytes(data))
    for row in (1, 2, 1):
        with pytest.raises(ImageError, match=r"0\.parquet/[12]: .*cannot be read as a Parquet"):
            contents.read(row)
    assert contents.read(3).data == IMAGES[3]
    path.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="cannot be read as a Parquet file"):
        list(ParquetListing(path, [path], "", "").entries())


def test_containers_are_found_by_folder_and_pattern(tmp_path):
    for name in ("b.tar", "a10.tar", "a09.tar", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.tar").touch()
    names = lambda text: [path.name for path in find_containers(f"{tmp_path}/{text}")]  # noqa: E731
    assert names("a{09..10}.tar") == ["a09.tar", "a10.tar"]
    assert names("{b,a10}.tar") == ["b.tar", "a10.tar"]
    assert names("*.tar") == ["a09.tar", "a10.tar", "b.tar"]
    assert names("b.tar") == ["b.tar"]
    assert names("") == []  # it has a folder, so it is a folder of images
    assert names("notes.txt") == []
    assert names("deep") == ["a.tar"]
    assert container_names([tmp_path / "b.tar", tmp_path / "deep/a.tar"]) == ["b.tar", "deep/a.tar"]
    with pytest.raises(DatasetError, match="that match this pattern, found none"):
        names("c*.tar")
    with pytest.raises(DatasetError, match=r"all of one kind, found \.tar, \.txt"):
        names("*.t*")
    (tmp_path / "c.tar.gz").touch()
    with pytest.raises(DatasetError, match="expected an uncompressed tar"):
        names("*.gz")
    with pytest.raises(DatasetError, match="at most 1,000,000"):
        names("{0..9999}{0..9999}.tar")
