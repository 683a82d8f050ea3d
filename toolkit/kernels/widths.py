"""Which kernels can compare codes of a number of bits, and which one is asked for; no Numba."""

from __future__ import annotations

import os
from typing import Final

from hashkit.errors import ConfigError

__all__ = [
    "COUNTERS",
    "COUNTS",
    "FORCED_BY",
    "MAX_PLANE_BITS",
    "PLANES",
    "ROWS",
    "counters_for",
    "forced_kernel",
]

ROWS: Final = "rows"
PLANES: Final = "planes"
COUNTS: Final = "counts"

FORCED_BY: Final = "HASHKIT_KERNEL"
"""Environment variable that names the kernel, for tests and measurements."""

_forced = os.environ.get(FORCED_BY)  # once: reading it would take a microsecond per search

COUNTERS: Final = (5, 7, 9, 11)
"""Bits of a distance that there are kernels for, in ascending order."""

MAX_PLANE_BITS: Final = (1 << COUNTERS[-1]) - 2
"""Longest codes that are compared through bit planes: their offsets take 16 bits."""


def counters_for(n_bits: int) -> int:
    """Bits of a distance in the kernel for codes of ``n_bits`` bits, at most `MAX_PLANE_BITS`."""
    return next(counters for counters in COUNTERS if n_bits + 1 < 1 << counters)


def forced_kernel(n_bits: int) -> str | None:
    """`ROWS`, `PLANES` or `COUNTS` if `FORCED_BY` names one; None to take the fastest.

    Raises
    ------
    ConfigError
        If it names no kernel, or one that does not compare codes of ``n_bits`` bits.
    """
    if not _forced:
        return None
    allowed = [ROWS, PLANES, COUNTS] if n_bits <= MAX_PLANE_BITS else [ROWS, COUNTS]
    if _forced not in allowed:
        raise ConfigError(
            f"{FORCED_BY}: expected {', '.join(allowed[:-1])} or {allowed[-1]} for codes of "
            f"{n_bits} bits, found {_forced!r}: correct it, or unset it for the fastest"
        )
    return _forced
