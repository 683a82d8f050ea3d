"""The job of finding duplicates on a cluster: the pairs of near rows of two shards."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.cluster.shard_group import ShardFile
from hashkit.cluster.versions import check_version
from hashkit.codes import code_keys
from hashkit.codesets import kept_rows
from hashkit.collection.join import NO_PAIRS, PairBlock, hamming_join, joined_pairs

__all__ = ["near_rows"]


class _Distinct(NamedTuple):
    """The distinct codes of a shard, and the first row of each that is not deleted."""

    codes: NDArray[np.uint8]
    rows: NDArray[np.int64]


def near_rows(
    one: ShardFile, other: ShardFile | None, radius: int, n_threads: int, version: str
) -> PairBlock:
    """Pairs of near rows of two shards; one row stands for all of a shard with the same code.

    Parameters
    ----------
    one, other
        The shards; None for pairs within one.
    radius
        Largest distance, bits.
    n_threads
        Number of threads.
    version
        The driver's version of hashkit.

    Returns
    -------
    PairBlock
        Row numbers within ``one`` and within ``other``.
    """
    check_version(version)
    with one.open() as bank:
        left, n_bits = _distinct(bank), bank.n_bits
    right = left
    if other is not None:
        with other.open() as bank:
            right = _distinct(bank)
    if not len(left.rows) or not len(right.rows):
        return NO_PAIRS
    return joined_pairs(
        PairBlock(left.rows[block.left], right.rows[block.right], block.distance)
        for block in hamming_join(
            left.codes,
            None if other is None else right.codes,
            n_bits,
            radius,
            n_threads=n_threads,
        )
    )


def _distinct(bank: Bank) -> _Distinct:
    rows = kept_rows(bank)
    codes = bank.codes[rows] if bank.deleted is not None else bank.codes
    _, first = np.unique(code_keys(codes), return_index=True)
    return _Distinct(np.array(codes[first]), rows[first])
