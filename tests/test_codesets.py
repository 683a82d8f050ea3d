from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from looped import looped

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError

BITS = np.random.default_rng(0).integers(0, 2, (7, 13)).astype(np.uint8)
CODES = pack(BITS)


@looped(
    ("changes", "message"),
    [
        ({"n_bits": 12}, "zeros in the last 4 bits"),
        ({"n_bits": 20}, r"uint8 \[n, 3\]"),
        ({"names": ["a"]}, "expected one name per code, 7, found 1"),
        ({"names": "letters"}, "`names` must be a list of names, not the text 'letters'"),
        ({"class_names": "cat"}, "`class_names` must be a list of names, not the text 'cat'"),
        ({"labels": np.zeros(6, np.int64)}, "expected one label per code, 7, found 6"),
        ({"labels": np.full(7, 0.5)}, "labels must be integers, not float64 .* 0.5"),
        ({"labels": np.full(7, np.nan)}, "such as nan"),
        ({"labels": np.full(7, 1e300)}, r"such as 1e\+300"),
        (
            {"labels": np.full(7, 2**63, np.uint64)},
            "fit 64 bits with a sign, found 9223372036854775808",
        ),
        ({"labels": ["a"] * 7}, "not <U1"),
        ({"labels": [1, [2]] * 3 + [1]}, "rows of different lengths"),
        ({"labels": np.zeros(7, complex)}, "not complex128"),
        ({"labels": np.zeros(7, object)}, "not object"),
        ({"labels": np.full((7, 2), 3)}, "found 3 to 3"),
        ({"labels": np.zeros((7, 2, 2), np.int64)}, "labels must be"),
        ({"deleted": np.zeros(7, np.uint8)}, r"`deleted` must be bool \[7\], not uint8"),
        ({"deleted": np.zeros(6, np.bool_)}, r"`deleted` must be bool \[7\], not bool \[6\]"),
    ],
)
def test_inconsistent_code_sets_are_refused(changes: dict[str, Any], message: str) -> None:
    codes = CODES | 1 << 3 if changes.get("n_bits") == 12 else CODES
    with pytest.raises(CodesError, match=message):
        CodeSet(**{"codes": codes, "n_bits": 13, **changes})


@looped(
    "kind", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2", "f4", "f8", ">f8"]
)
def test_labels_of_any_number_type_are_signed_integers(kind: str) -> None:
    numbers = [1, 0, 1, 1, 0, 0, 1] if kind == "?" else [3, 0, 1, 100, 2, 2, 1]
    labels = CodeSet(CODES, 13, np.array(numbers, dtype=kind)).labels
    assert labels is not None
    assert labels.tolist() == numbers
    assert labels.dtype.kind == "i"
    assert labels.dtype.isnative
    matrix = np.eye(7, 3).astype(kind)
    many = CodeSet(CODES, 13, matrix).labels
    assert many is not None
    assert many.tolist() == np.eye(7, 3).tolist()


def test_labels_may_be_lists_and_signed_ones_are_not_copied() -> None:
    assert CodeSet(CODES, 13, [3, -1, 0, 0, 0, 0, 0]).labels.tolist() == [3, -1, 0, 0, 0, 0, 0]  # type: ignore[arg-type, union-attr]
    labels = np.arange(7, dtype=np.int32)
    assert CodeSet(CODES, 13, labels).labels is labels


def test_a_code_set_is_shown_in_one_line() -> None:
    codes = np.zeros((3, 2), np.uint8)
    assert repr(CodeSet(codes, 16)) == "<CodeSet: 3 codes of 16 bits>"
    full = CodeSet(codes, 16, np.arange(3), ["a", "b", "c"])
    assert repr(full) == "<CodeSet: 3 codes of 16 bits, labels, names>"
