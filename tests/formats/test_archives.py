"""Codes of other programs, read from archives and array files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from code_files import BITS, CODES, saved
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.errors import CodesError
from hashkit.formats import open_codes
from hashkit.formats.code_arrays import pack_matrix


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from("?bBhiqfdeu"))
def test_signs_and_bits_of_any_type_give_the_same_codes(n_bits: int, seed: int, kind: str) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (5, n_bits))
    dtype = np.dtype("u4" if kind == "u" else kind)
    np.testing.assert_array_equal(pack_matrix(bits.astype(dtype)), pack(bits))
    if dtype.kind in "if":
        np.testing.assert_array_equal(pack_matrix((2 * bits - 1).astype(dtype)), pack(bits))


@looped(
    ("matrix", "message"),
    [
        (np.array([[0.2, -1.4]]), r"threshold them first.*logits > 0"),
        (np.array([[1.0, np.nan]]), "neither 0 and 1 nor -1 and 1"),
        (np.array([[1, 0, -1]]), "1 zeros among -1 and 1"),
        (np.array([[2, 0]]), "neither 0 and 1"),
    ],
)
def test_values_that_are_not_bits_are_refused(matrix: NDArray[Any], message: str) -> None:
    with pytest.raises(CodesError, match=message):
        pack_matrix(matrix)


@looped(
    "arrays",
    [
        {"codes": CODES, "bits": 13},
        {"codes": CODES, "bits": np.array([13])},
        {"codes": BITS},
        {"codes": BITS, "bits": 13},
        {"codes": BITS.astype(bool)},
        {"codes": BITS.astype(np.float32) * 2 - 1},
        {"codes": BITS.astype(np.int8) * 2 - 1, "bits": 13},
    ],
)
def test_packed_codes_and_matrices_give_the_same_codes(
    tmp_path: Path, arrays: dict[str, Any]
) -> None:
    found = open_codes(saved(tmp_path, **arrays))
    assert (found.n_bits, found.labels, list(found.names)) == (13, None, [])
    np.testing.assert_array_equal(found.codes, CODES)


def test_codes_of_one_bit_are_read_packed_or_as_a_matrix(tmp_path: Path) -> None:
    bits = np.array([[1], [0], [1]], np.uint8)
    for codes in (bits, pack(bits)):
        assert open_codes(saved(tmp_path, codes=codes, bits=1)).codes.tolist() == [
            [128],
            [0],
            [128],
        ]


def test_eight_columns_of_eight_bits_are_a_matrix(tmp_path: Path) -> None:
    bits = BITS[:, :8]
    np.testing.assert_array_equal(open_codes(saved(tmp_path, codes=bits, bits=8)).codes, pack(bits))


def test_labels_and_names_of_an_archive(tmp_path: Path) -> None:
    labels, names = np.arange(7) % 3, [f"{i}.png" for i in range(7)]
    path = saved(
        tmp_path, codes=BITS, labels=labels, names=names, class_names=["cat", "dog", "emu"]
    )
    found = open_codes(path)
    assert found.labels is not None
    assert found.labels.tolist() == labels.tolist()
    assert list(found.names) == names
    assert list(found.class_names) == ["cat", "dog", "emu"]


@looped(
    ("labels", "expected", "class_names"),
    [
        (np.arange(7.0), list(range(7)), []),
        (np.arange(7)[:, None], list(range(7)), []),
        (np.array(list("banbana")), [1, 0, 2, 1, 0, 2, 0], ["a", "b", "n"]),
        (np.eye(7, 3), np.eye(7, 3).tolist(), []),
        (np.eye(7, 3, dtype=bool), np.eye(7, 3).tolist(), []),
    ],
)
def test_every_kind_of_labels_is_read(
    tmp_path: Path, labels: NDArray[Any], expected: list[Any], class_names: list[str]
) -> None:
    found = open_codes(saved(tmp_path, codes=BITS, labels=labels))
    assert found.labels is not None
    assert found.labels.tolist() == expected
    assert list(found.class_names) == class_names


@looped(
    ("arrays", "message"),
    [
        ({"code": BITS}, "array named codes, found 'code'"),
        ({"codes": CODES}, r"without bits: .* bits=16, .* `n_bits=16`"),
        ({"codes": CODES[:0]}, "without bits"),
        ({"codes": CODES, "bits": 12}, "zeros in the last 4 bits"),
        ({"codes": CODES, "bits": 24}, r"packed, \[n, 3\]"),
        ({"codes": BITS * 2.0 - 1, "bits": 12}, "bits is 12, but codes have 13 columns"),
        ({"codes": BITS[0]}, "must be a matrix"),
        ({"codes": BITS, "bits": 13.0}, "one integer"),
        ({"codes": BITS - 0.5}, "threshold them first"),
        ({"codes": CODES.astype(np.int64), "bits": 2}, "neither 0 and 1"),
        ({"codes": BITS, "labels": np.zeros(6, np.int64)}, "one label per code, 7, found 6"),
        ({"codes": BITS, "labels": np.full(7, 0.5)}, "not float64"),
        ({"codes": BITS, "labels": np.full((7, 2), 5)}, "found 5 to 5"),
        ({"codes": BITS, "names": np.arange(7)}, "names must be text"),
        ({"codes": BITS.astype(object)}, "have to be unpickled"),
    ],
)
def test_ambiguous_or_invalid_archives_are_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(CodesError, match=message) as caught:
        open_codes(saved(tmp_path, **arrays))
    assert "codes.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"0101", b"PK\x03\x04 cut off"])
def test_files_that_are_not_archives_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "codes.npz").write_bytes(content)
    with pytest.raises(CodesError, match=r"codes\.npz: expected an \.npz archive"):
        open_codes(tmp_path / "codes.npz")


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, codes=BITS)
    content = bytearray(path.read_bytes())
    content[180:200] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(CodesError, match=r"codes\.npz: cannot be read"):
        open_codes(path)


def test_an_array_file_named_npz_is_read_as_what_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", BITS)
    (tmp_path / "array.npy").rename(tmp_path / "codes.npz")
    np.testing.assert_array_equal(open_codes(tmp_path / "codes.npz").codes, CODES)


def test_one_column_without_bits_is_refused(tmp_path: Path) -> None:
    """It may be codes of one bit, or packed codes of up to eight."""
    one = np.array([[0], [1]], np.uint8)
    with pytest.raises(CodesError, match="without bits"):
        open_codes(saved(tmp_path, codes=one))
    assert open_codes(saved(tmp_path, codes=one, bits=1)).codes.tolist() == [[0], [128]]
    assert open_codes(saved(tmp_path, codes=one, bits=8)).codes.tolist() == [[0], [1]]


@looped("kind", ["<U3", "S3", "c16", "M8[D]", "V3"])
def test_codes_that_are_not_numbers_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CodesError, match=r"numbers"):
        open_codes(saved(tmp_path, codes=np.zeros((2, 3), kind)))


@looped(
    ("array", "n_bits", "found"),
    [
        (BITS, None, 13),
        (BITS.astype(bool), None, 13),
        (BITS * 2.0 - 1, None, 13),
        (np.asfortranarray(BITS), 13, 13),
        (CODES, 13, 13),
        (CODES, None, 16),
    ],
)
def test_codes_of_an_array_file(
    tmp_path: Path, array: NDArray[Any], n_bits: int | None, found: int
) -> None:
    np.save(tmp_path / "codes.npy", array)
    codes = open_codes(tmp_path / "codes.npy", n_bits=n_bits)
    assert codes.n_bits == found
    np.testing.assert_array_equal(codes.codes, CODES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodesError, match=r"none\.npz: there is no such file"):
        open_codes(tmp_path / "none.npz")
    with pytest.raises(CodesError, match=r"none\.txt: cannot be read"):
        open_codes(tmp_path / "none.txt")
