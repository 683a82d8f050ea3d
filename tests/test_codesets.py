from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError

BITS = np.random.default_rng(0).integers(0, 2, (7, 13)).astype(np.uint8)
CODES = pack(BITS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_bits": 12}, "zeros in the last 4 bits"),
        ({"n_bits": 20}, r"uint8 \[n, 3\]"),
        ({"names": ["a"]}, "expected one name per code, 7, found 1"),
        ({"names": "letters"}, "`names` must be a list of names, not the text 'letters'"),
        ({"class_names": "cat"}, "`class_names` must be a list of names, not the text 'cat'"),
        ({"labels": np.zeros(6, np.int64)}, "expected one label per code, 7, found 6"),
        ({"labels": np.zeros(7)}, "not float64"),
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
