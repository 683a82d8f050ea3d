"""Long runs of repeated bytes, which are rare in compressed data unless a part of it is lost."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_run", "runs_in"]

_STEP: Final = 32
"""Every run of at least three times this length is found, and none shorter than this."""

_WORD: Final = 4
"""Longest repeated pattern, in bytes, such as those that fill memory and disks."""
_FLAT: Final = 0x28A28A00
_FLAT_WORDS: Final = np.array(
    [(_FLAT << i | _FLAT >> (32 - i)) & 0xFFFFFFFF for i in range(32)], np.uint32
)
"""A flat area in most JPEG files, with colours at half the resolution and the codes of T.81, annex
K: a tenth of photographs have some."""


def has_run(values: NDArray[np.uint8]) -> bool:
    """Whether uint8 [n] has a run that repeats one to four bytes; see `_STEP` for its length."""
    starts = _run_starts(values, _WORD)
    if not len(starts):
        return False
    words = np.ascontiguousarray(values[starts[:, None] + np.arange(_WORD)]).view(">u4")
    return not np.isin(words, _FLAT_WORDS).all()


def _run_starts(values: NDArray[np.uint8], period: int) -> NDArray[np.int64]:
    """Multiples of `_STEP` from which `_STEP` bytes equal those ``period`` bytes later: int64."""
    sampled = values[::_STEP]
    starts = np.flatnonzero(sampled[1:] == sampled[:-1]).astype(np.int64) * _STEP
    starts = starts[: np.searchsorted(starts, len(values) - _STEP - period, side="right")]
    if not len(starts):
        return starts
    windows = values[starts[:, None] + np.arange(_STEP + period)]
    equal: NDArray[np.bool_] = (windows[:, period:] == windows[:, :-period]).all(axis=1)
    return starts[equal]


def runs_in(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Start and end of the runs of one byte, ascending: int64 [n, 2]; see `_STEP`."""
    starts = _run_starts(values, 1)
    goes_on = (np.diff(starts) == _STEP) & (np.diff(values[starts].astype(np.int16)) == 0)
    firsts = starts[np.concatenate(([True], ~goes_on))[: len(starts)]]
    lasts = starts[np.concatenate((~goes_on, [True]))[: len(starts)]]
    return np.stack([firsts, lasts + _STEP + 1], axis=1)
