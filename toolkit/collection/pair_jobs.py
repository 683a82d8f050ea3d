"""Pairs of near rows of a database in parts, as jobs that need two parts each.

A job compares one part with itself or with a later one, anywhere and in any order. The pairs of all
jobs, merged, are those of `hashkit.pairs` over all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import check_radius
from hashkit.collection.join import NO_PAIRS, JoinEngine, PairBlock, hamming_join
from hashkit.errors import CodesError
from hashkit.inputs.arguments import whole_number
from hashkit.retrieval.shards import Database, Shards

__all__ = ["PairJob", "job_pairs", "merged_pairs", "pair_jobs"]


class PairJob(NamedTuple):
    """Two parts to compare: their numbers, ``left <= right``."""

    left: int
    right: int


def pair_jobs(n_parts: int) -> list[PairJob]:
    """The jobs of so many parts, ordered by (left, right)."""
    return [PairJob(left, right) for left in range(n_parts) for right in range(left, n_parts)]


def job_pairs(
    left: Database,
    right: Database | None,
    radius: int,
    *,
    n_bits: int | None = None,
    engine: JoinEngine = "auto",
    n_threads: int | None = None,
) -> Iterator[PairBlock]:
    """The pairs of one job, ordered by (left, right), in the row numbers of its parts.

    Parameters
    ----------
    left, right
        The parts, as the database of `hashkit.pairs`; None for pairs within ``left``, each once.
    radius, n_bits, n_threads
        As in `hashkit.pairs`.
    engine
        See `hashkit.collection.join.hamming_join`.

    Raises
    ------
    CodesError
        If the parts have different numbers of bits, or the number is unknown.
    ConfigError
        If the radius or the number of threads is out of range.
    """
    own = Shards.of(left, n_bits)
    check_radius(whole_number(radius, "radius", 0), own.n_bits)
    other = own if right is None else Shards.of(right, n_bits)
    if own.n_bits != other.n_bits:
        raise CodesError(f"expected parts of {own.n_bits} bits, found one of {other.n_bits} bits")
    codes, rows = _kept(own)
    other_codes, other_rows = (None, rows) if right is None else _kept(other)
    found = hamming_join(codes, other_codes, own.n_bits, radius, engine=engine, n_threads=n_threads)
    return (_renumbered(block, rows, other_rows) for block in found)


def merged_pairs(
    first_rows: Sequence[int], pairs_of: Callable[[PairJob], Iterable[PairBlock]]
) -> Iterator[PairBlock]:
    """The pairs of all jobs, ordered by (left, right), in the row numbers of the whole.

    Memory is a block of each of the jobs of one left part.

    Parameters
    ----------
    first_rows
        The number that the first row of each part has in the whole, ascending.
    pairs_of
        Gives the blocks of `job_pairs` of a job. The jobs of one left part are read side by side.
    """
    n_parts = len(first_rows)
    for left in range(n_parts):
        streams = [
            _Stream(iter(pairs_of(PairJob(left, right))), first_rows[left], first_rows[right])
            for right in range(left, n_parts)
        ]
        yield from _side_by_side(streams)


def _side_by_side(streams: Sequence[_Stream]) -> Iterator[PairBlock]:
    """The pairs of streams with the same left rows; right rows ascend from stream to stream."""
    while sum(stream.is_filled() for stream in streams):
        # A block has all pairs of its left rows, so up to the least last one nothing is missing.
        until = min(stream.last for stream in streams if stream.last is not None)
        parts = [stream.taken(until) for stream in streams]
        block = PairBlock(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        order = np.argsort(block.left, kind="stable")
        yield PairBlock(*(column[order] for column in block))


class _Stream:
    """The pairs of a job, of which some blocks have been read."""

    def __init__(self, blocks: Iterator[PairBlock], first_left: int, first_right: int) -> None:
        self._blocks = blocks
        self._firsts = first_left, first_right
        self._pairs = NO_PAIRS

    @property
    def last(self) -> int | None:
        """The left row of the last pair that was read; None if there is none."""
        return int(self._pairs.left[-1]) if len(self._pairs.left) else None

    def is_filled(self) -> bool:
        """Read the next block if there is no pair left; False if there is no further one."""
        while not len(self._pairs.left):
            block = next(self._blocks, None)
            if block is None:
                return False
            left, right = self._firsts
            self._pairs = PairBlock(block.left + left, block.right + right, block.distance)
        return True

    def taken(self, until: int) -> PairBlock:
        """Remove the pairs of left rows up to ``until``, and return them."""
        n_pairs = int(np.searchsorted(self._pairs.left, until, side="right"))
        pairs = PairBlock(*(column[:n_pairs] for column in self._pairs))
        self._pairs = PairBlock(*(column[n_pairs:] for column in self._pairs))
        return pairs


def _kept(shards: Shards) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """The codes that are not deleted, and their rows; None for all rows."""
    if len(shards.codes) == 1 and shards.kept[0] is None:
        return shards.codes[0], None
    rows = shards.kept_rows()
    return shards.take(rows), rows


def _renumbered(
    block: PairBlock, left: NDArray[np.int64] | None, right: NDArray[np.int64] | None
) -> PairBlock:
    return PairBlock(
        block.left if left is None else left[block.left],
        block.right if right is None else right[block.right],
        block.distance,
    )
