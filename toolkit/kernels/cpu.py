"""Features of the CPU that kernels are compiled for: vectors of 512 bits, counts of set bits."""

from __future__ import annotations

import functools
from typing import Final

from numba.core.registry import cpu_target

__all__ = ["HAS_BYTE_SUMS", "HAS_TERNARY_LOGIC", "HAS_VECTOR_COUNTS", "LANES", "has_features"]


@functools.cache
def _features() -> frozenset[str]:
    """LLVM's names of the features that Numba compiles for; ``NUMBA_CPU_FEATURES`` changes them."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(one[1:] for one in features.split(",") if one.startswith("+"))


def has_features(*names: str) -> bool:
    """Whether kernels may use the features of these names, as LLVM writes them."""
    return _features().issuperset(names)


LANES: Final = 8 if has_features("avx512f", "avx512bw", "avx512dq", "avx512vl") else 4
"""Lanes of 64 bits in the widest vector; LLVM divides vectors of 4 where they are shorter."""

HAS_TERNARY_LOGIC: Final = LANES == 8
"""Whether one instruction computes any function of three vectors of bits (``vpternlogq``)."""

HAS_VECTOR_COUNTS: Final = LANES == 8 and has_features("avx512vpopcntdq")
"""Whether one instruction counts the set bits of each lane (``vpopcntq``)."""

HAS_BYTE_SUMS: Final = has_features("avx2", "popcnt")
"""Whether one instruction sums the bytes of each lane of 64 bits (``vpsadbw``), beside one that
counts the set bits of a word."""
