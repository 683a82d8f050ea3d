"""Precision and recall of Hamming rankings, by rank and by radius, from distance histograms.

Histograms and ties are defined in `hashkit.evaluation.average_precision`: int64 [q, n_bits + 1]
for relevant rows and for all rows, and means over all orders of rows at the same distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.average_precision import quotient
from hashkit.evaluation.tied_groups import TiedGroups

__all__ = ["expected_hits", "precision_at", "recall_at", "within_radius"]

Histogram: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]


def precision_at(groups: TiedGroups, k: int) -> Scores:
    """Share of relevant rows among the first ``k`` ranks, mean over tie orders.

    The divisor is ``k`` even where the database has fewer rows.

    Returns
    -------
    NDArray
        float64 [q].
    """
    return expected_hits(groups, [k])[:, 0] / k


def recall_at(groups: TiedGroups, k: int) -> Scores:
    """Share of all relevant rows among the first ``k`` ranks, mean over tie orders.

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.
    """
    return quotient(expected_hits(groups, [k])[:, 0], groups.n_relevant)


def expected_hits(groups: TiedGroups, ks: Sequence[int]) -> Scores:
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
    group, ranked = groups.places(ks)
    relevant = np.take_along_axis(groups.relevant, group, axis=1)
    rows = np.take_along_axis(groups.rows, group, axis=1)
    before = np.take_along_axis(groups.relevant_before, group, axis=1)
    hits: Scores = before + ranked * (relevant / np.maximum(rows, 1))
    return hits


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
