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
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError

__all__ = [
    "CONVENTIONS",
    "Histogram",
    "average_precision",
    "best_average_precision",
    "check_cutoff",
    "convention_named",
    "precision_sum",
    "quotient",
    "worst_average_precision",
]

Histogram: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]


class _Ties(NamedTuple):
    """The groups of tied rows, each array int64 [q, n_bits + 1]."""

    relevant: Histogram  # relevant rows in the group
    rows: Histogram  # rows in the group
    relevant_before: Histogram  # relevant rows at smaller distances
    rows_before: Histogram  # rows at smaller distances
    ranked: Histogram  # rows of the group that come before the cut-off


def _ties(relevant: Histogram, total: Histogram, cutoff: int | None) -> _Ties:
    if cutoff is not None:
        check_cutoff(cutoff)
    relevant_before = np.cumsum(relevant, axis=1) - relevant
    rows_before = np.cumsum(total, axis=1) - total
    ranked = total if cutoff is None else np.clip(cutoff - rows_before, 0, total)
    return _Ties(relevant, total, relevant_before, rows_before, ranked)


def precision_sum(
    relevant_histogram: Histogram, total_histogram: Histogram, cutoff: int | None = None
) -> Scores:
    """Precision sum, mean over tie orders.

    Let a group of n tied rows, r of them relevant, follow N rows, R of them relevant, and let
    its first m rows come before the cut-off. Rank N + j holds a relevant row with probability
    r / n; if it does, (j - 1)(r - 1) / (n - 1) relevant rows are expected before it in the
    group. The group therefore adds::

        r/n * sum_{j=1..m} [R + 1 + (j - 1)(r - 1)/(n - 1)] / (N + j)

    With ``m = n`` this is the closed form of McSherry & Najork (2008). It holds for any m, since
    the expectation of a sum is the sum of the expectations of its ranks.

    Parameters
    ----------
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1].
    cutoff
        Number of ranks to include; None for all.

    Returns
    -------
    NDArray
        float64 [q].
    """
    ties = _ties(relevant_histogram, total_histogram, cutoff)
    sums: Scores = _group_precision_sums(ties).sum(axis=1)
    return sums


def _group_precision_sums(ties: _Ties) -> Scores:
    reciprocals = _sum_of_reciprocals(ties.rows_before, ties.ranked)
    # sum of (j - 1) / (N + j) over j = 1..m, written through the sum of 1 / (N + j)
    ramp = ties.ranked - (ties.rows_before + 1) * reciprocals
    share = ties.relevant / np.maximum(ties.rows, 1)
    slope = np.maximum(ties.relevant - 1, 0) / np.maximum(ties.rows - 1, 1)
    sums: Scores = share * ((ties.relevant_before + 1) * reciprocals + slope * ramp)
    return sums


def average_precision(
    relevant_histogram: Histogram,
    total_histogram: Histogram,
    *,
    cutoff: int | None = None,
    convention: str = "all-relevant",
) -> Scores:
    """Average precision of each query, mean over tie orders.

    Parameters
    ----------
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1].
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
    return convention_named(convention)(relevant_histogram, total_histogram, cutoff)


def convention_named(name: str) -> Convention:
    """The function named ``name`` in `CONVENTIONS`; an unknown name raises `ConfigError`."""
    if name not in CONVENTIONS:
        raise ConfigError(f"unknown convention {name!r}; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _per_relevant(relevant: Histogram, total: Histogram, cutoff: int | None) -> Scores:
    return quotient(precision_sum(relevant, total, cutoff), relevant.sum(axis=1))


def _per_possible(relevant: Histogram, total: Histogram, cutoff: int | None) -> Scores:
    possible = relevant.sum(axis=1)
    if cutoff is not None:
        possible = np.minimum(possible, cutoff)
    return quotient(precision_sum(relevant, total, cutoff), possible)


def _per_tenth(relevant: Histogram, total: Histogram, cutoff: int | None) -> Scores:
    # Assumes ten classes of equal size. The division rounds down as in C: 59,009 rows give 5,900.
    tenth = total.sum(axis=1) // 10
    if cutoff is not None:
        tenth = np.minimum(tenth, cutoff)
    return quotient(precision_sum(relevant, total, cutoff), tenth)


def _per_hit(relevant: Histogram, total: Histogram, cutoff: int | None) -> Scores:
    """Precision sum divided by the relevant rows before the cut-off, mean over tie orders.

    The cut-off splits at most one group. If the m ranks before it hold x of the group's r
    relevant rows (a hypergeometric number), the divisor is R + x, and within those m ranks any
    order is equally likely, so `precision_sum`'s formula holds with r = x and n = m. The mean is
    the sum over x of the probability of x times that quotient.
    """
    ties = _ties(relevant, total, cutoff)
    sums = _group_precision_sums(ties)
    is_split = (ties.ranked > 0) & (ties.ranked < ties.rows)
    is_whole = (ties.ranked > 0) & ~is_split
    hits = (relevant * is_whole).sum(axis=1)
    whole_sum = (sums * is_whole).sum(axis=1)
    scores = quotient(whole_sum, hits)
    for query, group in np.argwhere(is_split):
        n_rows, n_ranked = int(total[query, group]), int(ties.ranked[query, group])
        first_hits, probability = _hypergeometric(n_rows, int(relevant[query, group]), n_ranked)
        found = first_hits + np.arange(len(probability))
        filled = np.full_like(found, n_ranked)
        before = np.full_like(found, ties.rows_before[query, group])
        split = _Ties(found, filled, np.full_like(found, hits[query]), before, filled)
        quotients = quotient(whole_sum[query] + _group_precision_sums(split), hits[query] + found)
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


Convention: TypeAlias = Callable[[Histogram, Histogram, int | None], Scores]

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


def best_average_precision(relevant_histogram: Histogram, total_histogram: Histogram) -> Scores:
    """Average precision over all relevant rows, with the relevant rows of each tie first.

    Parameters
    ----------
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1].

    Returns
    -------
    NDArray
        float64 [q], 0 for queries without relevant rows.
    """
    ties = _ties(relevant_histogram, total_histogram, None)
    return _ordered_average_precision(ties, ties.rows_before)


def worst_average_precision(relevant_histogram: Histogram, total_histogram: Histogram) -> Scores:
    """Average precision over all relevant rows, with the relevant rows of each tie last.

    Parameters and result are as in `best_average_precision`.
    """
    ties = _ties(relevant_histogram, total_histogram, None)
    return _ordered_average_precision(ties, ties.rows_before + ties.rows - ties.relevant)


def _ordered_average_precision(ties: _Ties, start: Histogram) -> Scores:
    """Average precision if the relevant rows of each group take the ranks after ``start``."""
    # sum of (R + j) / (start + j) over j = 1..r
    reciprocals = _sum_of_reciprocals(start, ties.relevant)
    sums = ties.relevant - (start - ties.relevant_before) * reciprocals
    return quotient(sums.sum(axis=1), ties.relevant.sum(axis=1))


def check_cutoff(cutoff: int, argument: str = "cutoff") -> None:
    """Raise `ConfigError`, which names the argument, unless ``cutoff`` is at least 1."""
    if cutoff < 1:
        raise ConfigError(f"`{argument}` must be at least 1, not {cutoff}")


def quotient(numerator: NDArray[Any], denominator: NDArray[Any]) -> Scores:
    """Element-wise quotient, 0 where the denominator is 0."""
    quotient: Scores = numerator / np.maximum(denominator, 1) * (denominator > 0)
    return quotient


_HARMONIC: Final = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 65))])


def _sum_of_reciprocals(start: Histogram, count: Histogram) -> Scores:
    """Sum of 1 / t over ``start < t <= start + count``.

    Uses a table up to 64 and Euler-Maclaurin for larger harmonic numbers. The difference is taken
    term by term, the logarithms as ``log1p``, so that short ranges far down a ranking of 10^8 rows
    keep all their digits.
    """
    stop = start + count
    table = _HARMONIC[np.minimum(stop, 64)] - _HARMONIC[np.minimum(start, 64)]
    low, high = np.maximum(start, 64.0), np.maximum(stop, 64.0)
    result: Scores = table + np.log1p((high - low) / low) + _tail(high) - _tail(low)
    return result


def _tail(n: Scores) -> Scores:
    """Harmonic number of n minus log n and Euler's constant; the next term is below 2e-17."""
    square = 1.0 / (n * n)
    tail: Scores = 0.5 / n - square * (1 / 12 - square * (1 / 120 - square / 252))
    return tail
