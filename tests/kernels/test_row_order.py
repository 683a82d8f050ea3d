"""Precision sums in row order, to the last unit, against a sort of every ranking."""

from __future__ import annotations

import numpy as np
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.evaluation.own_rows import OwnRows
from hashkit.evaluation.passes import Passes, rank_starts
from hashkit.evaluation.relevance import match_labels

BUFFER = 2048  # rows that the kernel processes at a time


def made_sums(query: CodeSet, database: CodeSet, own: NDArray[np.int64] | None) -> list[int]:
    """The kernel's sums in units of 2^-60."""
    labels = match_labels(query, [database])
    own_rows = None if own is None else OwnRows(0, own)
    passes = Passes(query.codes, query.n_bits, [database], labels, own_rows)
    everything = slice(0, len(query))
    (starts,) = rank_starts([passes.histograms(everything, lambda _: None)])
    sums = passes.precision_sums(everything, starts, lambda _: None)
    assert (sums[:, 1] < 2**30).all()
    return [(coarse << 30) + fine for coarse, fine in sums.tolist()]


def sorted_sums(query: CodeSet, database: CodeSet, own: NDArray[np.int64] | None) -> list[int]:
    """The same from a stable sort by distance."""
    assert query.labels is not None
    assert database.labels is not None
    sums = []
    for number, (code, label) in enumerate(zip(query.codes, query.labels, strict=True)):
        distances = np.bitwise_count(database.codes ^ code).sum(axis=1, dtype=np.int64)
        order = np.argsort(distances, kind="stable")
        if own is not None:
            order = order[order != own[number]]
        rows = database.labels[order]
        is_hit = rows == label if rows.ndim == 1 else (rows & label).any(axis=1)
        ranks = np.flatnonzero(is_hit) + 1
        precisions = np.arange(1, len(ranks) + 1) / ranks
        sums.append(sum((precisions * 2.0**60).astype(np.int64).tolist()))
    return sums


def code_set(seed: int, n_rows: int, n_bits: int, labels: NDArray[np.integer]) -> CodeSet:
    bits = np.random.default_rng(seed).random((n_rows, n_bits)) < 0.2  # near each other: many ties
    return CodeSet(pack(bits.astype(np.uint8)), n_bits, labels)


@looped(("n_bits", "n_rows"), [(12, 5), (12, 2 * BUFFER + 3), (240, BUFFER - 1), (241, BUFFER + 1)])
def test_some_all_or_no_rows_are_relevant(n_bits: int, n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    query = code_set(0, 4, n_bits, np.array([2, 0, 2, 9]))  # equal labels are apart
    for labels in (rng.integers(-1, 4, n_rows), np.zeros(n_rows, np.int64)):
        database = code_set(1, n_rows, n_bits, labels)
        assert made_sums(query, database, None) == sorted_sums(query, database, None)


@looped("n_bits", [12, 256])
def test_rows_with_several_labels(n_bits: int) -> None:
    rng = np.random.default_rng(0)
    sets = (rng.random((BUFFER + 70, 5)) < 0.3).astype(np.uint8)
    query = code_set(0, 5, n_bits, np.eye(5, dtype=np.uint8) | sets[:5])
    database = code_set(1, len(sets), n_bits, sets)
    assert made_sums(query, database, None) == sorted_sums(query, database, None)


@looped(("n_bits", "multi_hot"), [(48, False), (48, True), (256, False)])
def test_own_rows_at_both_ends_of_a_buffer_are_left_out(n_bits: int, multi_hot: bool) -> None:
    n_rows = BUFFER + 66
    labels = np.random.default_rng(0).integers(0, 2, n_rows)
    if multi_hot:
        labels = np.eye(2, dtype=np.uint8)[labels]
    database = code_set(1, n_rows, n_bits, labels)
    own = np.array([0, BUFFER - 1, BUFFER, n_rows - 1])
    query = CodeSet(database.codes[own], n_bits, labels[own])
    assert made_sums(query, database, own) == sorted_sums(query, database, own)
    assert made_sums(query, database, own) != sorted_sums(query, database, None)
