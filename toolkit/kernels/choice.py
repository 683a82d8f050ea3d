"""Which kernel compares rows with several queries; see docs/performance.md.

Costs are nanoseconds of one thread, from ``python tests/benchmarks/bench_kernels.py``, which times
every kernel for a grid of bits and queries. Only their ratios matter.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Final

from hashkit.errors import ConfigError
from hashkit.kernels.cpu import HAS_VECTOR_COUNTS, LANES
from hashkit.kernels.widths import COUNTERS, MAX_PLANE_BITS

__all__ = ["COUNTS", "FORCED_BY", "PLANES", "ROWS", "batch_kernel", "batch_kernels"]

ROWS: Final = "rows"
PLANES: Final = "planes"
COUNTS: Final = "counts"

FORCED_BY: Final = "HASHKIT_KERNEL"
"""Environment variable that names the kernel, for tests and measurements."""

_N_TOGETHER: Final = 4


@dataclasses.dataclass(frozen=True)
class _Costs:
    """Nanoseconds that the kernels take per row of a level-1 cache.

    Attributes
    ----------
    row
        Comparing the rows as they lie in memory with a query, per word of 64 bits.
    transpose
        Making planes, per bit.
    plane, unit
        Comparing planes with a query, per bit, and apart from the bits.
    copy
        Copying a row for counts, per word.
    count
        Counting with a query, per word; None where too little is gained to compile that kernel.
    """

    row: float
    transpose: float
    plane: float
    unit: float
    copy: float = 1.0
    count: float | None = None

    def of(self, n_queries: int, n_bits: int) -> dict[str, float]:
        """Nanoseconds per row for all queries, by each kernel."""
        n_words = -(-n_bits // 64)
        costs = {ROWS: n_queries * self.row * n_words}
        if n_bits <= MAX_PLANE_BITS:
            query = self.plane * n_bits + self.unit
            costs[PLANES] = self.transpose * n_bits + n_queries * query
        if self.count is not None:
            n_counted = -(-n_queries // _N_TOGETHER) * _N_TOGETHER
            copied = 0.0 if n_bits == 64 else self.copy * n_words
            costs[COUNTS] = copied + n_counted * self.count * n_words
        return costs


_WIDE: Final = _Costs(row=0.5, transpose=0.04, plane=0.0022, unit=0.01)
"""AVX-512 without VPOPCNTDQ: measured on a Xeon (Cascade Lake) at 2.5 GHz. Counting by shuffles is
faster for 3 or 4 queries alone."""

_COUNTING: Final = dataclasses.replace(_WIDE, count=0.095)
"""AVX-512 with VPOPCNTDQ: the counts of 2 M rows and 256 queries on an EPYC (Zen 5; a loop with
these instructions), the rest from `_WIDE`."""

_NARROW: Final = _Costs(row=0.5, transpose=0.05, plane=0.0065, unit=0.02)
"""Vectors of 256 bits: measured on the Xeon without AVX-512, and taken for all other CPUs."""

_OF_THIS_CPU: Final = _COUNTING if HAS_VECTOR_COUNTS else _WIDE if LANES == 8 else _NARROW


def batch_kernel(n_queries: int, n_bits: int) -> str:
    """`ROWS`, `PLANES` or `COUNTS`: the fastest for this CPU, or the one that `FORCED_BY` names.

    Raises
    ------
    ConfigError
        If `FORCED_BY` names no kernel, or one that does not compare codes of this length.
    """
    forced = os.environ.get(FORCED_BY)
    if not forced:
        costs = _OF_THIS_CPU.of(n_queries, n_bits)
        return min(costs, key=costs.__getitem__)
    allowed = [ROWS, PLANES, COUNTS] if n_bits <= MAX_PLANE_BITS else [ROWS, COUNTS]
    if forced not in allowed:
        raise ConfigError(
            f"{FORCED_BY}: expected {', '.join(allowed[:-1])} or {allowed[-1]} for codes of "
            f"{n_bits} bits, found {forced!r}: correct it, or unset it for the fastest"
        )
    return forced


def batch_kernels(n_bits: int) -> set[str]:
    """The kernels that searches of codes as long as ``n_bits``, or nearly so, may use."""
    last = next((one for one in COUNTERS if n_bits + 1 < 1 << one), COUNTERS[-1])
    lengths = {n_bits, (1 << last) - 2, (1 << last - 2) - 1}
    return {batch_kernel(queries, bits) for bits in lengths for queries in (3, 4, 8, 16, 256)}
