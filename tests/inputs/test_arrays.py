from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from looped import looped
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.inputs.arrays import read_npy, read_npz
from hashkit.inputs.limits import set_limits

KINDS = ["?", "i1", "<i8", ">i4", "u2", "<f4", ">f8", "c8", "<U3", ">U2", "S4"]


@given(
    st.sampled_from(KINDS).flatmap(lambda kind: npst.arrays(kind, npst.array_shapes(min_dims=0))),
    st.booleans(),
)
def test_what_numpy_saves_is_read(
    tmp_path_factory: pytest.TempPathFactory, array: NDArray[Any], is_fortran: bool
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    array = np.asfortranarray(array) if is_fortran else array
    np.save(path, array)
    np.testing.assert_array_equal(read_npy(path, CodesError), array, strict=True)


def test_wanted_arrays_of_an_archive_are_read_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, codes=np.arange(6).reshape(2, 3), objects=np.array([{}]), more=[1])
    arrays, names = read_npz(path, ("codes", "labels"), CodesError)
    assert list(arrays) == ["codes"]
    assert arrays["codes"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert names == ["codes", "objects", "more"]


def npy(header: bytes, data: bytes = b"\0" * 8, version: int = 1) -> bytes:
    size = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


PLAIN = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_versions_of_the_header_are_read(tmp_path: Path, version: int) -> None:
    (tmp_path / "a.npy").write_bytes(npy(PLAIN, version=version))
    assert read_npy(tmp_path / "a.npy", CodesError).tolist() == [0]


@looped(
    ("content", "message"),
    [
        (b"", "cut off"),
        (b"\x93NUMPY\x01\x00\xff\xff", "a header of at most"),
        (b"\x93NUMPY\x01\x00\x80\x00{", "cut off"),
        (npy(PLAIN, version=4), "expected a header of NumPy, found other data"),
        (npy(PLAIN, b"\0" * 7), "expected 8 bytes by its header, found 7"),
        (npy(PLAIN, b"\0" * 9), "expected 8 bytes by its header, found 9"),
        (npy(PLAIN.replace(b"(1,)", b"(-1,)")), "expected numbers or text"),
        (npy(PLAIN.replace(b"(1,)", b"(1.0,)")), "expected numbers or text"),
        (npy(PLAIN.replace(b"(1,)", b"(True,)")), "expected numbers or text"),
        (npy(PLAIN.replace(b"(1,)", b"1")), "expected numbers or text"),
        (npy(PLAIN.replace(b"(1,)", b"(" + b"9" * 30 + b",)")), "expected 7,999"),
        (npy(PLAIN.replace(b"(1,)", b"(" + b"9" * 5000 + b",)")), "found a damaged one"),
        (npy(PLAIN.replace(b"False", b"0")), "expected numbers or text"),
        (npy(PLAIN.replace(b"<i8", b"O")), "have to be unpickled"),
        (npy(PLAIN.replace(b"<i8", b"<M8")), "expected numbers or text"),
        (npy(PLAIN.replace(b"'<i8'", b"[('a', '<i8')]")), "expected numbers or text"),
        (npy(PLAIN.replace(b"<i8", b"x9")), "found a damaged one"),
        (npy(PLAIN.replace(b"<i8", b"S" + b"9" * 30)), "found a damaged one"),
        (npy(PLAIN.replace(b"'<i8'", b"3")), "found a damaged one"),
        (npy(PLAIN.replace(b"'<i8'", b"[('a', 'a')]")), "expected numbers or text"),
        (npy(PLAIN.replace(b"'<i8'", b"open('x')")), "found a damaged one"),
        (npy(b"(" * 5000), "found a damaged one"),
        (npy(b"{"), "found a damaged one"),
        (npy(b"3"), "found a damaged one"),
        (npy(b"\0"), "found a damaged one"),
        (npy(PLAIN.replace(b"<i8", b"<U2"), b"\xff" * 8), "characters that do not exist"),
    ],
)
def test_a_damaged_array_is_a_one_line_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("codes.npy", content)
    for read in (
        lambda: read_npy(tmp_path / "a.npy", CodesError),
        lambda: read_npz(tmp_path / "a.npz", ["codes"], CodesError),
    ):
        with pytest.raises(CodesError, match=message) as caught:
            read()
        assert str(caught.value).startswith(str(tmp_path / "a.np"))
        assert str(caught.value).isprintable()


@looped("kind", [b"<i8\\^", b"1if 0else", b"a3", b"<a"])
def test_a_damaged_header_gives_no_warning_of_the_parser(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(npy(PLAIN.replace(b"<i8", kind)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(CodesError, match="found a damaged one"):
            read_npy(tmp_path / "a.npy", CodesError)
    assert caught == []


def test_a_small_archive_of_a_large_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, codes=np.zeros(1 << 20))
    before = set_limits(array_bytes=1 << 20)
    try:
        with pytest.raises(CodesError, match=r"'codes' has 8,388,608 bytes, more than the"):
            read_npz(path, ["codes"], CodesError)
    finally:
        set_limits(array_bytes=before.array_bytes)
    assert read_npz(path, ["codes"], CodesError)[0]["codes"].shape == (1 << 20,)


def test_a_damaged_archive_is_a_one_line_error(tmp_path: Path) -> None:
    path, random = tmp_path / "a.npz", np.random.default_rng(0)
    whole = io.BytesIO()
    np.savez_compressed(whole, codes=np.arange(40), labels=np.arange(9))
    content = whole.getvalue()
    found = []
    for _ in range(300):
        damaged = bytearray(content)
        at = random.integers(len(content))
        damaged[at : at + 4] = random.bytes(4)
        path.write_bytes(bytes(damaged[: random.integers(len(content) // 2, len(content) + 1)]))
        try:
            found.append(str(read_npz(path, ["codes", "labels"], CodesError)[1]))
        except CodesError as error:
            found.append(str(error))
    assert all(text.isprintable() for text in found)
    assert len(set(found)) > 3


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for read in (
        lambda path: read_npy(path, CodesError),
        lambda path: read_npz(path, [], CodesError),
    ):
        with pytest.raises(CodesError, match="there is no such file"):
            read(tmp_path / "none")
        with pytest.raises(CodesError, match=r"expected a file, found a folder|cannot be read"):
            read(tmp_path)
