"""Pairs of near rows of a bank, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from hashkit.codesets import check_radius
from hashkit.collection.join import JoinEngine, PairBlock, hamming_join
from hashkit.inputs.arguments import checked_arguments
from hashkit.retrieval.shards import Database, Shards

__all__ = ["Pair", "pair_blocks", "pairs"]

_PAIRS_AT_ONCE: Final = 1 << 14
"""Pairs that are Python objects at a time."""


class Pair(NamedTuple):
    """Two rows that are near each other.

    Attributes
    ----------
    left, right
        Row numbers, ``left < right``.
    distance
        Hamming distance in bits.
    """

    left: int
    right: int
    distance: int


@checked_arguments
def pairs(
    database: Database,
    radius: int = 2,
    *,
    n_bits: int | None = None,
    n_threads: int | None = None,
) -> Iterator[Pair]:
    """Find all pairs of rows within a radius exactly, each once, ordered by (left, right).

    Pairs are found as the iterator advances, about a million at a time, so memory does not depend
    on their number: 100,000 equal codes have 5 billion pairs.

    Parameters
    ----------
    database
        A bank or code set; a bank set, or a sequence of these, whose rows are numbered in the order
        given; or packed codes, uint8 [n, ceil(n_bits / 8)]. Deleted rows are left out.
    radius
        Largest distance, in bits, 0 or more.
    n_bits
        Number of bits of a code: required for an array, checked against a bank.
    n_threads
        Number of threads; one per CPU by default.

    Yields
    ------
    Pair
        ``left``, ``right`` and ``distance``.

    Raises
    ------
    CodesError
        If databases have different numbers of bits, or the number is unknown.
    ConfigError
        If the radius or the number of threads is out of range.
    """
    shards = Shards.of(database, n_bits)
    radius = check_radius(radius, shards.n_bits)
    blocks = pair_blocks(shards, radius, n_threads=n_threads)
    return _single(blocks)


def pair_blocks(
    shards: Shards, radius: int, *, engine: JoinEngine = "auto", n_threads: int | None = None
) -> Iterator[PairBlock]:
    """The pairs of `pairs` as arrays, in blocks."""
    if len(shards.codes) == 1 and shards.kept[0] is None:
        return hamming_join(
            shards.codes[0], None, shards.n_bits, radius, engine=engine, n_threads=n_threads
        )
    rows = shards.kept_rows()
    codes = shards.take(rows)
    found = hamming_join(codes, None, shards.n_bits, radius, engine=engine, n_threads=n_threads)
    return (PairBlock(rows[left], rows[right], distance) for left, right, distance in found)


def _single(blocks: Iterator[PairBlock]) -> Iterator[Pair]:
    for block in blocks:
        for first in range(0, len(block.left), _PAIRS_AT_ONCE):
            part = (column[first : first + _PAIRS_AT_ONCE].tolist() for column in block)
            yield from map(Pair._make, zip(*part, strict=True))
