"""Precision and recall of Hamming rankings, by rank and by radius, from distance histograms.

Histograms and ties are defined in `hashkit.evaluation.average_precision`: int64 [q, n_bits + 1]
for relevant rows and for all rows, and means over all orders of rows at the same distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.average_precision import check_cutoff, quotient

__all__ = ["expected_hits", "precision_at", "ranks_in_groups", "recall_at", "within_radius"]

Histogram: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]


def precision_at(relevant_histogram: Histogram, total_histogram: Histogram, k: int) -> Scores:
    """Share of relevant rows among the first ``k`` ranks, mean over tie orders.

    The divisor is ``k`` even where the database has fewer rows.

    Returns
    -------
    NDArray
        float64 [q].
    """
    return expected_hits(relevant_histogram, total_histogram, [k])[:, 0] / k


def recall_at(relevant_histogram: Histogram, total_histogram: Histogram, k: int) -> Scores:
    """Share of all relevant rows among the first ``k`` ranks, mean over tie orders.

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.
    """
    hits = expected_hits(relevant_histogram, total_histogram, [k])[:, 0]
    return quotient(hits, relevant_histogram.sum(axis=1))


def expected_hits(
    relevant_histogram: Histogram, total_histogram: Histogram, ks: Sequence[int]
) -> Scores:
    """Expected number of relevant rows among the first k ranks, over tie orders, for several k.

    Returns
    -------
    NDArray
        float64 [q, len(ks)].

    Raises
    ------
    ConfigError
        If a k is less than 1.
    """
    relevant, total = relevant_histogram, total_histogram
    group, ranked = ranks_in_groups(total, ks)
    hits_before = np.cumsum(relevant, axis=1) - relevant
    share = relevant / np.maximum(total, 1)
    hits: Scores = np.take_along_axis(hits_before, group, axis=1) + ranked * np.take_along_axis(
        share, group, axis=1
    )
    return hits


def ranks_in_groups(
    total_histogram: Histogram, ks: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The group of tied rows in which the first k ranks end, and how many of its rows they include.

    Returns
    -------
    tuple
        (group, ranked), both int64 [q, len(ks)]; group is a distance. If k exceeds the number of
        rows, all rows are included.

    Raises
    ------
    ConfigError
        If a k is less than 1.
    """
    for k in ks:
        check_cutoff(k, "ks")
    rows_until = np.cumsum(total_histogram, axis=1)
    n_rows = rows_until[:, -1:]
    last_ranks = np.minimum(np.array(ks, dtype=np.int64), n_rows)
    # One ascending list for all queries, so that one search finds every k of every query.
    shift = np.arange(len(rows_until))[:, None] * (int(n_rows.max(initial=0)) + 1)
    found = np.searchsorted((rows_until + shift).ravel(), last_ranks + shift)
    group = found - np.arange(len(rows_until))[:, None] * rows_until.shape[1]
    before = np.take_along_axis(rows_until - total_histogram, group, axis=1)
    return group, last_ranks - before


def within_radius(
    relevant_histogram: Histogram, total_histogram: Histogram
) -> tuple[Scores, Scores, NDArray[np.bool_]]:
    """Precision and recall within each Hamming radius of each query.

    Returns
    -------
    tuple
        (precision, recall, is_empty), float64, float64 and bool [q, n_bits + 1]; column d covers
        all rows at distance d or less. An empty ball has precision 0.
    """
    hits = np.cumsum(relevant_histogram, axis=1)
    rows = np.cumsum(total_histogram, axis=1)
    return quotient(hits, rows), quotient(hits, hits[:, -1:]), rows == 0
