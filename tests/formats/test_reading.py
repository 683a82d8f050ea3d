"""Codes of other programs, read from archives and text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashkit.codes import pack, unpack
from hashkit.errors import CodesError
from hashkit.formats import open_codes
from hashkit.formats.code_arrays import pack_matrix
from hashkit.formats.labels import load_labels

BITS = np.random.default_rng(0).integers(0, 2, (7, 13)).astype(np.uint8)
CODES = pack(BITS)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "codes.npz", **arrays)
    return folder / "codes.npz"


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_bytes(content.encode())
    return folder / name


# ---------------------------------------------------------------- matrices


@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from("?bBhiqfdeu"))
@settings(deadline=None)
def test_signs_and_bits_of_any_type_give_the_same_codes(n_bits: int, seed: int, kind: str) -> None:
    bits = np.random.default_rng(seed).integers(0, 2, (5, n_bits))
    dtype = np.dtype("u4" if kind == "u" else kind)
    np.testing.assert_array_equal(pack_matrix(bits.astype(dtype)), pack(bits))
    if dtype.kind in "if":
        np.testing.assert_array_equal(pack_matrix((2 * bits - 1).astype(dtype)), pack(bits))


@pytest.mark.parametrize(
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


# ---------------------------------------------------------------- archives


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("kind", ["<U3", "S3", "c16", "M8[D]", "V3"])
def test_codes_that_are_no_numbers_are_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CodesError, match=r"numbers"):
        open_codes(saved(tmp_path, codes=np.zeros((2, 3), kind)))


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("labels", "expected", "class_names"),
    [
        (np.array([3, 0, -1]), [3, 0, -1], ()),
        (np.array([3, 0, 1], np.uint8), [3, 0, 1], ()),
        (np.array([[3.0], [0.0], [1.0]]), [3, 0, 1], ()),
        (np.eye(3, 2), np.eye(3, 2).tolist(), ()),
        (np.array(["b", "a", "-1"]), [1, 0, -1], ("a", "b")),
    ],
)
def test_labels_may_be_arrays(
    tmp_path: Path, labels: NDArray[Any], expected: list[Any], class_names: tuple[str, ...]
) -> None:
    np.save(tmp_path / "labels.npy", labels)
    np.savez(tmp_path / "labels.npz", labels=labels, other=np.zeros(9))
    for name in ("labels.npy", "labels.npz"):
        found, names = load_labels(tmp_path / name)
        assert (found.tolist(), names) == (expected, class_names)


def test_arrays_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    for labels, message in (
        (np.array([0.5]), "such as 0.5"),
        (np.full((2, 2), 3), "found 3 to 3"),
        (np.array([{}]), "unpickled"),
        (np.array(3), r"not int64 \[\]"),
        (np.zeros((2, 2), complex), "not complex128"),
    ):
        np.save(tmp_path / "labels.npy", labels)
        with pytest.raises(CodesError, match=message) as caught:
            load_labels(tmp_path / "labels.npy")
        assert "labels.npy" in str(caught.value)
    np.savez(tmp_path / "labels.npz", classes=np.zeros(3))
    with pytest.raises(CodesError, match="an array named labels, found 'classes'"):
        load_labels(tmp_path / "labels.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CodesError, match=r"none\.npz: there is no such file"):
        open_codes(tmp_path / "none.npz")
    with pytest.raises(CodesError, match=r"none\.txt: cannot be read"):
        open_codes(tmp_path / "none.txt")


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_text_codes_are_the_same_bits(tmp_path: Path, end: str) -> None:
    lines = ["".join(map(str, row)) for row in BITS]
    newline = "\r\n" if end == "\r\n" else "\n"
    found = open_codes(text(tmp_path, "pool.txt", newline.join(lines) + end))
    assert found.n_bits == 13
    np.testing.assert_array_equal(unpack(found.codes, 13), BITS)


@pytest.mark.parametrize("mark", [" ", "\t", ",", ";", ", "])
@pytest.mark.parametrize("form", ["%d", "%.18e", "%.1f", "signs"])
def test_codes_with_delimiters_are_the_same_bits(tmp_path: Path, mark: str, form: str) -> None:
    values = BITS if form != "signs" else BITS * 2.0 - 1
    np.savetxt(
        tmp_path / "pool.txt",
        values,
        fmt="%d" if form == "signs" else form,
        delimiter=mark,
        header="codes",
    )
    found = open_codes(tmp_path / "pool.txt")
    assert found.n_bits == 13
    np.testing.assert_array_equal(found.codes, CODES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0101\n011\n", "line 2: expected 4 digits"),
        ("0101\n0121\n", "line 2: expected 4 digits 0 or 1 like the first line, found '0121'"),
        ("0101\n\n0101\n", "line 2: expected a code or label, found an empty line"),
        ("cat\n", "line 1: expected a code in each line.*found 'cat'"),
        ("", "expected a code in each line.*found no lines"),
        ("0 1 1\n0 1\n", "line 2: .*3 bits in each line, found '0 1'"),
        ("0 1 2\n", "line 1: .*found '0 1 2'"),
        ("0.5 1 1\n", "line 1: .*found '0.5 1 1'"),
        ("-1 0 1\n", "1 zeros among -1 and 1"),
        ('"0" 1\n', "line 1: .*found"),
        ("\xff", "line 1"),
    ],
)
def test_text_that_is_not_codes_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(CodesError, match=message):
        open_codes(text(tmp_path, "pool.txt", content))


def test_binary_data_is_not_read_as_text(tmp_path: Path) -> None:
    for name, message in (("pool.txt", r"line 2: .*0xff"), ("pool.bin", "unknown suffix '.bin'")):
        (tmp_path / name).write_bytes(b"\n\xff\x00")
        with pytest.raises(CodesError, match=message):
            open_codes(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "labels", "class_names"),
    [
        ("3\n0\n-1\n", [3, 0, -1], ()),
        ("1\n0\n1\n", [1, 0, 1], ()),
        ("10\n11\n2\n", [10, 11, 2], ()),
        ("10.0\n11.0\n10.0\n", [10, 11, 10], ()),
        ("10\n11\n-1\n", [10, 11, -1], ()),
        ("3.000000000000000000e+00\n-1.0e+00\n+0\n", [3, -1, 0], ()),
        ("3,\n4,\n5,\n", [3, 4, 5], ()),
        ("# classes\n3\n4\n5\n", [3, 4, 5], ()),
        ("3\r4\r5\r", [3, 4, 5], ()),
        ("9223372036854775807\n0\n0\n", [2**63 - 1, 0, 0], ()),
        ("cat\n-1\ncat\n", [0, -1, 0], ("cat",)),
        ('"7"\n"cat"\n"7"\n', [0, 1, 0], ("7", "cat")),
        ('"1"\n"0"\n"1"\n', [1, 0, 1], ("0", "1")),
        ('"tench, Tinca ""tinca"""\ncat\ncat\n', [1, 0, 0], ("cat", 'tench, Tinca "tinca"')),
        ('5" disk\ncat\ncat\n', [0, 1, 1], ('5" disk', "cat")),
        ("737-200\nA300 B4\nA300 B4\n", [0, 1, 1], ("737-200", "A300 B4")),
        ("\u732b\n\u72ac\n\u732b\n", [1, 0, 1], ("\u72ac", "\u732b")),
        ("0.000e+00 1.000e+00\n1.000e+00 0.000e+00\n1. 1.\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("0;1\n1;0\n1;1\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("0\t1\n1\t0\n1\t1\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("0   1\n1   0\n1   1\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("0, 1,\n1, 0,\n1, 1,\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("# 2 classes\n0 1\n1 0\n1 1\n# end\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("False,True\nTrue,False\nTrue,True\n", [[0, 1], [1, 0], [1, 1]], ()),
        ("cat,dog\n0,1\n1,0\n1,1\n", [[0, 1], [1, 0], [1, 1]], ("cat", "dog")),
        ('"cat","a dog"\n0,1\n1,0\n1,1\n', [[0, 1], [1, 0], [1, 1]], ("cat", "a dog")),
        ("polar bear\ncat\ncat\n", [1, 0, 0], ("cat", "polar bear")),
        ("0 1 1\n1 0 0\n0 0 0\n", [[0, 1, 1], [1, 0, 0], [0, 0, 0]], ()),
        ("0,1\n1,0\n0,0\n", [[0, 1], [1, 0], [0, 0]], ()),
        ("011\n100\n110\n", [[0, 1, 1], [1, 0, 0], [1, 1, 0]], ()),
        ("007\n012\n007\n", [0, 1, 0], ("007", "012")),
        ("\ufeff4\n5\n6", [4, 5, 6], ()),
    ],
)
def test_every_kind_of_label_line_is_read(
    tmp_path: Path, content: str, labels: list[Any], class_names: tuple[str, ...]
) -> None:
    found, found_names = load_labels(text(tmp_path, "labels.txt", content))
    assert (found.tolist(), found_names) == (labels, class_names)
    codes = text(tmp_path, "codes.txt", "01\n11\n00\n")
    assert np.array_equal(open_codes(codes, tmp_path / "labels.txt").labels, found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("10\n11\n10\n", r"'10' could be a class number, or 0 or 1 for each of 2 classes: write"),
        ("1 2\n3 4\n", "line 1: .*found '1' among 2 columns|line 1: .*found '2' among 2 columns"),
        ("0 1\n0 7\n", "line 2: .*found '7' among 2 columns: write 1 where"),
        ("-1 1\n1 -1\n", "line 1: .*found '-1' among 2 columns"),
        ("0.5 1\n1 0\n", r"line 1: .*found '0\.5'"),
        ("0 1\n0 1 1\n", "line 2: .*found 3 columns, but 2 in line 1"),
        ("0,,1\n1,0,1\n", "line 1: .*found 3 columns"),
        (",a,b\n0,0,1\n1,1,0\n", "line 1: .*found 3 columns"),
        ("0,000;1,000\n1,000;0,000\n", "line 1: .*found 2 columns"),
        ("0 1\nx 1\n", "line 2: .*found 'x 1' among lines of numbers"),
        ("[0, 1]\n[1, 0]\n", "line 1: .*found 2 columns"),
        ("[0 1]\n[1 0]\n", r"line 1: .*found '\[0 1\]': put names without letters in double"),
        ("0 1 # a\n1 0 # b\n", "line 1: .*a comment is a line of its own"),
        ("label,index\n1,0\n0,1\n", "line 1: .*the column 'label': save the labels alone"),
        (",a\n0,1\n1,0\n", "line 1: .*found 2 columns"),
        ("0|1\n1|0\n", "line 1: .*put names without letters in double quotes"),
        ("cat, dog\ncat\n", "line 1: .*found 2 columns, 'cat, dog'.*in double quotes"),
        ("a.png 3\nb.png 4\n", "line 1: .*found 2 columns, 'a.png 3': save the labels alone"),
        ("a.png,cat\nb.png,dog\n", "line 1: .*found 2 columns"),
        ("label\n0\n1\n", "line 2: .*the number '0' among class names: remove the heading"),
        ("cat\n7\n", "line 2: .*the number '7' among class names"),
        ("0.5\n1\n", r"line 1: .*found '0\.5', which is no integer of 64 bits"),
        ("1\nnan\n", "line 2: .*'nan': write -1 where the label is unknown"),
        ("cat\nNone\n", "line 2: .*'None': write -1 where the label is unknown"),
        ("9223372036854775808\n0\n", "line 1: .*no integer of 64 bits"),
        (f"1\n{'9' * 5000}\n", "line 2: .*no integer of 64 bits"),
        ("1\n1e400\n", "line 2: .*no integer of 64 bits"),
        ("007\n7\n", "line 2: .*found '7' beside '007'"),
        ("1\n\n1\n", "line 2: expected a code or label, found an empty line"),
        ("", "found no lines"),
        ("# nothing\n", "found no lines"),
    ],
)
def test_labels_with_two_meanings_or_none_are_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(CodesError, match=message) as caught:
        load_labels(text(tmp_path, "labels.txt", content))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(tmp_path)) + 400


def test_labels_that_are_not_utf8_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"cat\r\nd\xf4g\r\n")
    with pytest.raises(CodesError, match=r"line 2: expected text in UTF-8, found the byte 0xf4"):
        load_labels(tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("1\n2\n", encoding="utf-16")
    with pytest.raises(CodesError, match="found UTF-16: save the file as UTF-8"):
        load_labels(tmp_path / "labels.txt")


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from(" \t;,"))
@settings(deadline=None, max_examples=30)
def test_what_savetxt_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, n_rows: int, n_classes: int, seed: int, mark: str
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    random = np.random.default_rng(seed)
    matrix, numbers = random.integers(0, 2, (n_rows, n_classes)), random.integers(-1, 9, n_rows)
    for form in ("%d", "%.18e", "%.3f", "%g"):
        np.savetxt(folder / "a.txt", matrix, fmt=form, delimiter=mark, header="from NumPy")
        np.testing.assert_array_equal(load_labels(folder / "a.txt")[0], matrix)
        np.savetxt(folder / "b.txt", numbers, fmt=form)
        np.testing.assert_array_equal(load_labels(folder / "b.txt")[0], numbers)


def test_labels_that_do_not_match_the_codes_are_refused(tmp_path: Path) -> None:
    codes = text(tmp_path, "codes.txt", "01\n11\n")
    with pytest.raises(CodesError, match=r"expected 2 labels in .*labels.txt.*found 3"):
        open_codes(codes, text(tmp_path, "labels.txt", "1\n2\n3\n"))
    with pytest.raises(CodesError, match="0 or 1 for the same classes in every line"):
        load_labels(text(tmp_path, "labels.txt", "0 1\n0 1 1\n"))
    archive = saved(tmp_path, codes=BITS, labels=np.arange(7))
    with pytest.raises(CodesError, match="already contains labels"):
        open_codes(archive, tmp_path / "labels.txt")
