"""Labels of other programs, read from arrays and text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from code_files import BITS, saved, text
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.formats import open_codes
from hashkit.formats.labels import load_labels


@looped(
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


def test_arrays_that_are_not_labels_are_refused(tmp_path: Path) -> None:
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


@looped(
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


@looped(
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
