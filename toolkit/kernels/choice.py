"""Which kernel compares rows with queries; see docs/performance.md.

Costs are nanoseconds of one thread, of which only the ratios matter. To measure those of another
CPU, run ``python tests/benchmarks/bench_native.py --cpu-time --queries 4,256 --ks 1`` with
``HASHKIT_KERNEL`` set to each kernel: its rates are comparisons per nanosecond.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from hashkit.kernels.cpu import HAS_VECTOR_COUNTS, LANES
from hashkit.kernels.widths import COUNTS, MAX_PLANE_BITS, PLANES, ROWS, forced_kernel

__all__ = ["SEVERAL", "batch_time", "scan_kernel", "scan_kernels"]

SEVERAL: Final = 3
"""Number of queries from which kernels other than `ROWS` may be faster."""

_N_TOGETHER: Final = 4

_PACKED: Final = frozenset((1, 2, 4, 8, 16, 32))
"""Bytes per row for which vectors hold whole rows as they lie in memory."""


@dataclasses.dataclass(frozen=True)
class _Costs:
    """Nanoseconds that the kernels take per row.

    Attributes
    ----------
    row
        Comparing rows as they lie in memory with a query, per bit.
    row_32
        The same for a whole row of 32 bits; on some CPUs it takes as long as a row of 64 bits.
    transpose, unit
        Making planes: per bit, and independent of the bits.
    plane, below
        Comparing planes with a query: per bit, and independent of the bits.
    near
        Extra time for a row among the nearest if rows are compared as they lie in memory instead
        of in planes; 0 if not measured.
    copy
        Copying rows for counts, per word of 64 bits.
    count, group
        Counting with a query: per word, and independent of the words; None if the gain is too
        small to compile that kernel.
    """

    row: float
    row_32: float
    transpose: float
    unit: float
    plane: float
    below: float
    near: float = 0.0
    copy: float = 0.0
    count: float | None = None
    group: float = 0.0

    def of(self, n_queries: int, n_bits: int, near_share: float) -> dict[str, float]:
        """Nanoseconds per row for all queries, by each kernel."""
        n_words = -(-n_bits // 64)
        costs = {}
        size = -(-n_bits // 8)
        if size in _PACKED or n_bits > MAX_PLANE_BITS:
            row = self.row_32 if size == 4 else self.row * 8 * size
            costs[ROWS] = n_queries * (row + self.near * near_share)
        if n_bits <= MAX_PLANE_BITS:
            query = self.plane * n_bits + self.below
            costs[PLANES] = self.transpose * n_bits + self.unit + n_queries * query
        if self.count is not None:
            n_counted = -(-n_queries // _N_TOGETHER) * _N_TOGETHER
            copied = 0.0 if n_bits == 64 else self.copy * n_words
            costs[COUNTS] = copied + n_counted * (self.count * n_words + self.group)
        return costs


_WIDE: Final = _Costs(row=0.0125, row_32=0.4, transpose=0.03, unit=1.2, plane=0.0019, below=0.018)
"""AVX-512 without VPOPCNTDQ: measured on a Xeon (Cascade Lake) at 2.5 GHz with other load, rows
from memory. Counting by shuffles takes .3 ns per word and query, which is less than the others only
for 3 and 4 queries."""

_COUNTING: Final = dataclasses.replace(_WIDE, copy=1.4, count=0.074, group=0.068)
"""AVX-512 with VPOPCNTDQ: not measured. Copying and planes are as in `_WIDE`; counting is computed
from the number of instructions, in agreement with the .095 ns per word and query of a similar loop
on an EPYC (Zen 5)."""

_NARROW: Final = _Costs(
    row=0.0034, row_32=0.2176, transpose=0.024, unit=0.5, plane=0.0022, below=0.02, near=60.0
)
"""Vectors of 256 bits: measured on an EPYC (Zen 3); assumed for all other CPUs."""

_OF_THIS_CPU: Final = _COUNTING if HAS_VECTOR_COUNTS else _WIDE if LANES == 8 else _NARROW


def scan_kernel(n_queries: int, n_bits: int, near_share: float) -> str:
    """`ROWS`, `PLANES` or `COUNTS`: the fastest for this CPU, or the one that is forced.

    Fewer queries than `SEVERAL` are always compared by `ROWS`.

    Parameters
    ----------
    near_share
        Number of rows wanted per query, divided by the number of database rows.

    Raises
    ------
    ConfigError
        As `hashkit.kernels.widths.forced_kernel` does.
    """
    if n_queries < SEVERAL:
        return ROWS
    forced = forced_kernel(n_bits)
    if forced is not None:
        return forced
    costs = _OF_THIS_CPU.of(n_queries, n_bits, near_share)
    return min(costs, key=costs.__getitem__)


def batch_time(n_queries: int, n_bits: int, near_share: float) -> float:
    """Approximate nanoseconds per row of one thread, for `SEVERAL` queries or more.

    Parameters
    ----------
    near_share
        See `scan_kernel`.
    """
    return min(_OF_THIS_CPU.of(n_queries, n_bits, near_share).values())


def scan_kernels(n_bits: int) -> set[str]:
    """The kernels that `scan_kernel` may name on this CPU for codes of ``n_bits`` bits.

    Raises
    ------
    ConfigError
        As `hashkit.kernels.widths.forced_kernel` does.
    """
    forced = forced_kernel(n_bits)
    if forced is not None:
        return {ROWS, forced}
    return {ROWS, PLANES} if _OF_THIS_CPU.count is None else {ROWS, PLANES, COUNTS}
