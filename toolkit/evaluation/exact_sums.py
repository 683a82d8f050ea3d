"""Sums of precisions as whole numbers, which do not depend on the order of addition.

The last digits of sums of floats depend on the order. A database may be one bank, or divided into
any shards on any number of machines, and the results must be the same.

A sum is two unsigned integers of 64 bits, [..., 2]: units of 2^-30, and further units of 2^-60,
fewer than 2^30 (`hashkit.kernels.row_order.add_row_order`). It holds 17 billion precisions of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_floats", "no_sums", "total"]

_BITS: Final = np.uint64(30)
"""Bits of the finer units of a sum."""


def no_sums(n_queries: int) -> NDArray[np.uint64]:
    """Sums of nothing: uint64 [q, 2]."""
    return np.zeros((n_queries, 2), np.uint64)


def total(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """The sum of one or more parts, uint64 [q, 2] each."""
    result: NDArray[np.uint64] = np.sum(parts, axis=0, dtype=np.uint64)
    carried = result[:, 1] >> _BITS
    result[:, 0] += carried
    result[:, 1] -= carried << _BITS
    return result


def as_floats(sums: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Sums as floats, float64 [q]."""
    floats: NDArray[np.float64] = sums[:, 0] * 2.0**-30 + sums[:, 1] * 2.0**-60
    return floats
