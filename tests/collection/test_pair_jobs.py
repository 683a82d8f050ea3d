"""Pairs of a database in parts, merged, equal those of the whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.collection.join import PairBlock
from hashkit.collection.pair_jobs import PairJob, job_pairs, merged_pairs, pair_jobs
from hashkit.collection.pairs import pair_blocks
from hashkit.errors import CodesError
from hashkit.retrieval.shards import Shards

N_BITS = 6


def in_small_blocks(blocks: Iterator[PairBlock], seed: int) -> Iterator[PairBlock]:
    """The same pairs, with one to three left rows per block, and empty blocks between them."""
    rng = np.random.default_rng(seed)
    for block in blocks:
        starts = np.flatnonzero(np.r_[True, np.diff(block.left) > 0])
        bounds = [*starts[:: int(rng.integers(1, 4))].tolist(), len(block.left)]
        for first, stop in itertools.pairwise(bounds):
            yield PairBlock(*(column[first:first] for column in block))
            yield PairBlock(*(column[first:stop] for column in block))


def joined(blocks: Iterator[PairBlock]) -> list[tuple[int, int, int]]:
    return [pair for block in blocks for pair in zip(*(c.tolist() for c in block), strict=True)]


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(0, 25), min_size=1, max_size=5),
    st.integers(0, 3),
)  # fmt: skip
def test_merged_pairs_of_jobs_equal_those_of_the_whole(
    seed: int, lengths: list[int], radius: int
) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for n_rows in lengths:
        deleted = rng.random(n_rows) < rng.choice([0.0, 0.4, 1.0])
        codes = pack(rng.integers(0, 2, (n_rows, N_BITS)))
        parts.append(CodeSet(codes, N_BITS, deleted=deleted if deleted.any() else None))
    # Jobs run in any order, before their pairs are merged.
    jobs = rng.permutation(np.array(pair_jobs(len(parts)))).tolist()
    found = {}
    for left, right in jobs:
        other = None if left == right else parts[right]
        made = job_pairs(parts[left], other, radius)
        found[PairJob(left, right)] = list(in_small_blocks(made, seed))
    first_rows = np.cumsum([0, *lengths[:-1]]).tolist()
    expected = joined(pair_blocks(Shards.of(parts), radius))
    assert joined(merged_pairs(first_rows, found.__getitem__)) == expected


def test_parts_of_other_codes_are_refused() -> None:
    one, other = (CodeSet(np.zeros((2, 1), np.uint8), n_bits) for n_bits in (7, 8))
    with pytest.raises(CodesError, match="expected parts of 7 bits, found one of 8 bits"):
        job_pairs(one, other, 1)
