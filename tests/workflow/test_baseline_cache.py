from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashkit.workflow.baseline_cache import BaselineCodes, read_codes, write_codes

CODES = np.array([[0b10100000], [0b01100000]], dtype=np.uint8)
SAVED = BaselineCodes(n_bits=4, query_codes=CODES[:1], database_codes=CODES, accuracy=0.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_codes(tmp_path / "a.npz", SAVED, "abc")
    return tmp_path / "a.npz"


def test_codes_come_back(path: Path) -> None:
    found = read_codes(path, "abc")
    assert found is not None
    np.testing.assert_array_equal(found.database_codes, CODES)
    assert (found.n_bits, found.accuracy) == (4, 0.5)
    assert read_codes(path, "other") is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_bits", np.inf),
        ("n_bits", np.nan),
        ("n_bits", 4.5),
        ("n_bits", 0),
        ("n_bits", 10**18),
        ("n_bits", [4, 4]),
        ("n_bits", "4"),
        ("accuracy", [np.nan]),
        ("accuracy", ["much"]),
        ("accuracy", [0.1, 0.2]),
        ("query_codes", np.ones((1, 3), np.uint8)),
    ],
)
def test_wrong_values_count_as_missing(path: Path, name: str, value: Any) -> None:
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays[name] = np.array(value)
    np.savez(path, **arrays)
    assert read_codes(path, "abc") is None
