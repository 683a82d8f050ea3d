"""Which kernel compares codes of a number of bits with many queries; does not import Numba."""

from __future__ import annotations

from typing import Final

__all__ = ["COUNTERS", "MAX_PLANE_BITS", "counters_for"]

COUNTERS: Final = (5, 7, 9, 11)
"""Bits of a distance that there are kernels for, in ascending order."""

MAX_PLANE_BITS: Final = (1 << COUNTERS[-1]) - 2
"""Longest codes that are compared through bit planes: their offsets take 16 bits."""


def counters_for(n_bits: int) -> int:
    """Bits of a distance in the kernel for codes of ``n_bits`` bits, at most `MAX_PLANE_BITS`."""
    return next(counters for counters in COUNTERS if n_bits + 1 < 1 << counters)
