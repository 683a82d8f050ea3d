"""Average precision of Hamming rankings, computed from distance histograms.

Terms:

* A **histogram** counts, per query, the database rows at each distance: ``total_histogram`` all
  of them, ``relevant_histogram`` the relevant ones; both int64 [q, n_bits + 1].
* Rows at the same distance are **tied**. Functions without a prefix give the mean over all orders
  of the ties, each equally likely, in closed form (McSherry & Najork, ECIR 2008; He et al., CVPR
  2018); ``best_`` and ``worst_`` put the relevant rows of each tie first, or last.
* The **precision sum** of a ranking is the sum of precision@t over the ranks t, up to the
  cut-off, that hold a relevant row. An **average precision** is the precision sum divided by
  the divisor of its convention (`CONVENTIONS`).
* A query **without relevant rows** scores 0 here; the caller decides whether the mean includes it.

Every number is a float64, accurate to 1e-12. Nothing here reads codes or sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError
from hashkit.evaluation.tied_groups import TiedGroups, Ties, precision_sums

__all__ = [
    "CONVENTIONS",
    "average_precision",
    "best_average_precision",
    "convention_named",
    "precision_sum",
    "quotient",
    "worst_average_precision",
]

Scores: TypeAlias = NDArray[np.float64]


def precision_sum(groups: TiedGroups, cutoff: int | None = None) -> Scores:
    """Precision sum, mean over tie orders.

    Parameters
    ----------
    groups
        Rankings of q queries.
    cutoff
        Number of ranks to include; None for all.

    Returns
    -------
    NDArray
        float64 [q].
    """
    sums: Scores = groups.precision_sums(cutoff).sum(axis=1)
    return sums


def average_precision(
    groups: TiedGroups, *, cutoff: int | None = None, convention: str = "all-relevant"
) -> Scores:
    """Average precision of each query, mean over tie orders.

    Parameters
    ----------
    groups
        Rankings of q queries.
    cutoff
        Number of ranks to include; None for all.
    convention
        A name in `CONVENTIONS`; it sets the divisor of the precision sum.

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.

    Raises
    ------
    ConfigError
        If the convention is unknown or the cut-off is less than 1.
    """
    return convention_named(convention)(groups, cutoff)


def convention_named(name: str) -> Convention:
    """The function named ``name`` in `CONVENTIONS`; an unknown name raises `ConfigError`."""
    if name not in CONVENTIONS:
        raise ConfigError(f"unknown convention {name!r}; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _per_relevant(groups: TiedGroups, cutoff: int | None) -> Scores:
    return quotient(precision_sum(groups, cutoff), groups.n_relevant)


def _per_possible(groups: TiedGroups, cutoff: int | None) -> Scores:
    possible = groups.n_relevant if cutoff is None else np.minimum(groups.n_relevant, cutoff)
    return quotient(precision_sum(groups, cutoff), possible)


def _per_tenth(groups: TiedGroups, cutoff: int | None) -> Scores:
    # Assumes ten classes of equal size. The division rounds down as in C: 59,009 rows give 5,900.
    tenth = groups.rows.sum(axis=1) // 10
    if cutoff is not None:
        tenth = np.minimum(tenth, cutoff)
    return quotient(precision_sum(groups, cutoff), tenth)


def _per_hit(groups: TiedGroups, cutoff: int | None) -> Scores:
    """Precision sum divided by the relevant rows before the cut-off, mean over tie orders.

    The cut-off splits at most one group. If the m ranks before it hold x of the group's r
    relevant rows (a hypergeometric number), the divisor is R + x, and within those m ranks any
    order is equally likely, so the formula of `TiedGroups.precision_sums` holds with r = x and
    n = m. The mean is the sum over x of the probability of x times that quotient.
    """
    if cutoff is None:
        return _per_relevant(groups, None)
    (group, ranked), is_whole = groups.cut(cutoff), groups.rows_until <= cutoff
    hits = (groups.relevant * is_whole).sum(axis=1)
    whole_sum = (groups.precision_sums() * is_whole).sum(axis=1)
    scores = quotient(whole_sum, hits)
    n_rows = np.take_along_axis(groups.rows, group, axis=1)
    for query in np.flatnonzero((ranked > 0) & (ranked < n_rows)):
        place, n_ranked = (query, group[query, 0]), int(ranked[query, 0])
        n_relevant = int(groups.relevant[place])
        first_hits, probability = _hypergeometric(int(n_rows[query, 0]), n_relevant, n_ranked)
        found = first_hits + np.arange(len(probability))
        filled = np.full_like(found, n_ranked)
        before = np.full_like(found, groups.rows_before[place])
        split = Ties(found, filled, np.full_like(found, hits[query]), before, filled)
        quotients = quotient(whole_sum[query] + precision_sums(split), hits[query] + found)
        scores[query] = probability @ quotients
    return scores


def _hypergeometric(n_rows: int, n_relevant: int, n_drawn: int) -> tuple[int, Scores]:
    """Probabilities of the number of relevant rows among ``n_drawn`` of ``n_rows`` drawn at random.

    Returns the smallest possible number and the probabilities from that number upwards. They are
    built from the ratios of neighbours, so that no factorial overflows.
    """
    fewest = max(0, n_drawn - (n_rows - n_relevant))
    most = min(n_drawn, n_relevant)
    x = np.arange(fewest, most, dtype=np.float64)
    ratios = (n_relevant - x) * (n_drawn - x) / ((x + 1) * (n_rows - n_relevant - n_drawn + x + 1))
    log_weights = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    weights = np.exp(log_weights - log_weights.max())
    return fewest, weights / weights.sum()


Convention: TypeAlias = Callable[[TiedGroups, int | None], Scores]

CONVENTIONS: Final[Mapping[str, Convention]] = {
    "all-relevant": _per_relevant,
    "min": _per_possible,
    "hits": _per_hit,
    "caffe-dnnh": _per_tenth,
}
"""Divisors of the precision sum in average precision up to a cut-off R.

``all-relevant``: all relevant rows of the database. ``min``: the smaller of that and R.
``hits``: the relevant rows found in the top R. ``caffe-dnnh``: the smaller of a tenth of the
database and R. Over the whole ranking the first three agree.
"""


def best_average_precision(groups: TiedGroups) -> Scores:
    """Average precision over all relevant rows, with the relevant rows of each tie first.

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.
    """
    return quotient(groups.best_sums().sum(axis=1), groups.n_relevant)


def worst_average_precision(groups: TiedGroups) -> Scores:
    """Average precision over all relevant rows, with the relevant rows of each tie last.

    The result is as in `best_average_precision`.
    """
    return quotient(groups.worst_sums().sum(axis=1), groups.n_relevant)


def quotient(numerator: NDArray[Any], denominator: NDArray[Any]) -> Scores:
    """Element-wise quotient, 0 where the denominator is 0."""
    quotient: Scores = numerator / np.maximum(denominator, 1) * (denominator > 0)
    return quotient
