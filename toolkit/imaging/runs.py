"""Long runs of equal bytes, which are rare in compressed data unless a part of it is lost."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_run", "longest_zeros"]

_STEP: Final = 32
"""Every run of at least twice this length is found, and none of less than this."""


def has_run(values: NDArray[np.uint8]) -> bool:
    """Whether uint8 [n] has a run of equal bytes; see `_STEP` for its length."""
    return bool(len(_run_starts(values)))


def _run_starts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Multiples of `_STEP` from which more than `_STEP` bytes are equal: int64, ascending."""
    sampled = values[::_STEP]
    starts = np.flatnonzero(sampled[1:] == sampled[:-1]).astype(np.int64) * _STEP
    if not len(starts):
        return starts
    windows = values[starts[:, None] + np.arange(_STEP + 1)]
    equal: NDArray[np.bool_] = (windows == windows[:, :1]).all(axis=1)
    return starts[equal]


def longest_zeros(values: NDArray[np.uint8]) -> tuple[int, int]:
    """Start and end of the longest run of zeros that `_run_starts` finds; 0, 0 if none."""
    starts = _run_starts(values)
    starts = starts[values[starts] == 0]
    if not len(starts):
        return 0, 0
    groups = np.split(starts, np.flatnonzero(np.diff(starts) != _STEP) + 1)
    longest = max(groups, key=len)
    return int(longest[0]), int(longest[-1]) + _STEP + 1
