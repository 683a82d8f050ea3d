"""Sums of precisions as whole numbers, which are the same in whatever order they are added.

Sums of floats depend on their order in the last digits. A database may be one bank or cut into any
shards, on any number of machines, and its results must be the same.

A sum is two unsigned integers of 64 bits, [..., 2]: the sum in units of 2^-62 modulo 2^64, and how
often it passed 2^64 (`hashkit.kernels.histograms.add_row_order`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_floats", "no_sums", "total"]

_CARRIED: Final = 2.0**2
"""2^64 units."""

_UNIT: Final = 2.0**-62


def no_sums(n_queries: int) -> NDArray[np.uint64]:
    """Sums of nothing: uint64 [q, 2]."""
    return np.zeros((n_queries, 2), np.uint64)


def total(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The sum of one or more parts, uint64 [q, 2] each."""
    first, *others = parts
    result = first.copy()
    for part in others:
        low = result[:, 0] + part[:, 0]
        result[:, 1] += part[:, 1] + (low < part[:, 0])
        result[:, 0] = low
    return result


def as_floats(sums: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The nearest floats to sums, float64 [q]."""
    floats: NDArray[np.float64] = sums[:, 1] * _CARRIED + sums[:, 0] * _UNIT
    return floats
