"""The pairs of near codes of a bank, which are grouped into duplicates."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_keys
from hashkit.collection.join import PairBlock, hamming_join, joined_pairs
from hashkit.errors import ConfigError
from hashkit.workflow.reporter import plural

__all__ = [
    "check_number_of_pairs",
    "distinct_codes",
    "pairs_of_classes",
    "pairs_of_codes",
]

_MAX_PAIRS: Final = 50_000_000
"""Most pairs held in memory: 18 bytes each, and far more while they are grouped."""


def distinct_codes(codes: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The distinct codes, uint8 [m, size], and the number of each row's code, int64 [n]."""
    _, first, numbers = np.unique(code_keys(codes), return_index=True, return_inverse=True)
    return codes[first], numbers.astype(np.int64).reshape(-1)


def pairs_of_codes(codes: NDArray[np.uint8], n_bits: int, radius: int) -> PairBlock:
    """All pairs of codes within a radius, ordered by (left, right).

    Raises
    ------
    ConfigError
        If there are more pairs than can be grouped.
    """
    found: list[PairBlock] = []
    n_found = 0
    for block in hamming_join(codes, None, n_bits, radius):
        found.append(block)
        n_found += len(block.left)
        check_number_of_pairs(n_found, radius)
    return joined_pairs(found)


def pairs_of_classes(
    found: PairBlock, rows: NDArray[np.int64], classes: NDArray[np.int64]
) -> PairBlock:
    """The pairs of distinct codes, each once and in order, that pairs of rows have.

    Parameters
    ----------
    found
        Pairs of rows, in no order.
    rows, classes
        int64 [n]: rows in ascending order, and the number of the code of each.
    """
    sides = [classes[np.searchsorted(rows, side)] for side in (found.left, found.right)]
    left, right = np.minimum(*sides), np.maximum(*sides)
    keys = left * (classes.max(initial=0) + 1) + right
    _, first = np.unique(keys, return_index=True)
    first = first[left[first] != right[first]]
    return PairBlock(left[first], right[first], found.distance[first])


def check_number_of_pairs(n_found: int, radius: int) -> None:
    """Raise `ConfigError` if there are more pairs than can be grouped."""
    if n_found > _MAX_PAIRS:
        raise ConfigError(
            f"`radius` must be so small that at most {_MAX_PAIRS:,} pairs of codes are near, "
            f"found more within {plural(radius, 'bit')}: choose a smaller one"
        )
