"""Groups of tied rows in Hamming rankings, and the precision that each adds.

What several metrics of the same rankings need is computed once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError

__all__ = ["Histogram", "TiedGroups", "Ties", "check_cutoff", "precision_sums"]

Histogram: TypeAlias = NDArray[np.int64]
Scores: TypeAlias = NDArray[np.float64]


class _Harmonic(NamedTuple):
    """Parts of the harmonic numbers of some ranks, see `_sum_of_reciprocals`."""

    table: Scores  # of ranks up to 64, by addition
    rank: Scores  # at least 64
    tail: Scores  # of that rank


class Ties(NamedTuple):
    """Some groups of tied rows, arrays of one shape."""

    relevant: Histogram  # relevant rows in the group
    rows: Histogram  # rows in the group
    relevant_before: Histogram  # relevant rows at smaller distances
    rows_before: Histogram  # rows at smaller distances
    ranked: Histogram  # rows of the group that come before the cut-off


class TiedGroups:
    """The rankings of some queries, as groups of rows at the same distance.

    Parameters
    ----------
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1], number of relevant rows and of all rows at each distance.

    Attributes
    ----------
    relevant, rows
        The histograms.
    """

    def __init__(self, relevant_histogram: Histogram, total_histogram: Histogram) -> None:
        self.relevant = relevant_histogram
        self.rows = total_histogram

    @classmethod
    def of_grades(cls, histograms: NDArray[np.int64]) -> TiedGroups:
        """The groups of int64 [q, n_grades, n_bits + 1], number of rows by grade and distance.

        Rows of any grade but 0 are relevant.
        """
        return cls(histograms[:, 1:].sum(axis=1), histograms.sum(axis=1))

    @functools.cached_property
    def n_relevant(self) -> NDArray[np.int64]:
        """Relevant rows of each query, int64 [q]."""
        n_relevant: NDArray[np.int64] = self.relevant.sum(axis=1)
        return n_relevant

    @functools.cached_property
    def relevant_before(self) -> Histogram:
        """Relevant rows at smaller distances, int64 [q, n_bits + 1]."""
        return np.cumsum(self.relevant, axis=1) - self.relevant

    @functools.cached_property
    def rows_until(self) -> Histogram:
        """Rows at the same or a smaller distance, int64 [q, n_bits + 1]."""
        return np.cumsum(self.rows, axis=1)

    @functools.cached_property
    def rows_before(self) -> Histogram:
        """Rows at smaller distances, int64 [q, n_bits + 1]."""
        return self.rows_until - self.rows

    def places(self, ks: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The group in which the first k ranks end, and how many of its rows they include.

        Parameters
        ----------
        ks
            Each at least 1. If k exceeds the number of rows, all rows are included.

        Returns
        -------
        tuple
            (group, ranked), both int64 [q, len(ks)]; group is a distance.

        Raises
        ------
        ConfigError
            If a k is less than 1.
        """
        for k in ks:
            check_cutoff(k, "ks")
        n_queries, n_rows = len(self.rows), self.rows_until[:, -1:]
        ascending, column = np.unique(np.array(ks, np.int64), return_inverse=True)
        # For each group, the number of ks that end in it or before, by one search in a short list;
        # from these, for each k, the number of groups that end before it.
        reached = np.searchsorted(ascending, self.rows_until.ravel(), side="right")
        reached = reached.reshape(self.rows.shape) + (
            np.arange(n_queries)[:, None] * (len(ascending) + 1)
        )
        counts = np.bincount(reached.ravel(), minlength=n_queries * (len(ascending) + 1))
        group = np.cumsum(counts.reshape(n_queries, -1), axis=1)[:, column]
        group = np.minimum(group, np.count_nonzero(self.rows_until < n_rows, axis=1)[:, None])
        before = np.take_along_axis(self.rows_before, group, axis=1)
        return group, np.minimum(ascending[column], n_rows) - before

    def precision_sums(self, cutoff: int | None = None) -> Scores:
        """The sum that each group adds, mean over tie orders, float64 [q, n_bits + 1].

        Let a group of n tied rows, r of them relevant, follow N rows, R of them relevant, and let
        its first m rows come before the cut-off. Rank N + j holds a relevant row with probability
        r / n; if it does, (j - 1)(r - 1) / (n - 1) relevant rows are expected before it in the
        group. The group therefore adds::

            r/n * sum_{j=1..m} [R + 1 + (j - 1)(r - 1)/(n - 1)] / (N + j)

        With ``m = n`` this is the closed form of McSherry & Najork (2008). It holds for any m,
        since the expectation of a sum is the sum of the expectations of its ranks.

        Parameters
        ----------
        cutoff
            Number of ranks to include; None for all.
        """
        if cutoff is None:
            return self._whole_sums
        group, ranked = self.cut(cutoff)
        sums: Scores = self._whole_sums * (self.rows_until <= cutoff)
        last = Ties(*(np.take_along_axis(of_all, group, axis=1) for of_all in self._ties))
        np.put_along_axis(sums, group, precision_sums(last._replace(ranked=ranked)), axis=1)
        return sums

    def cut(self, cutoff: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The group that a cut-off splits, otherwise the next or the last one.

        Returns
        -------
        tuple
            (group, ranked), both int64 [q, 1]: a distance, and the rows before the cut-off.

        Raises
        ------
        ConfigError
            If the cut-off is less than 1.
        """
        check_cutoff(cutoff)
        whole = np.count_nonzero(self.rows_until <= cutoff, axis=1)[:, None]
        group = np.minimum(whole, self.rows.shape[1] - 1)
        before = np.take_along_axis(self.rows_before, group, axis=1)
        return group, np.minimum(cutoff - before, np.take_along_axis(self.rows, group, axis=1))

    def best_sums(self) -> Scores:
        """The sum that each group adds with its relevant rows first, float64 [q, n_bits + 1]."""
        stop = _harmonic(self.rows_before + self.relevant)
        return self._ordered_sums(self.rows_before, _sum_of_reciprocals(self._starts, stop))

    def worst_sums(self) -> Scores:
        """The sum that each group adds with its relevant rows last, float64 [q, n_bits + 1]."""
        start = self.rows_until - self.relevant
        return self._ordered_sums(start, _sum_of_reciprocals(_harmonic(start), self._stops))

    def _ordered_sums(self, start: Histogram, reciprocals: Scores) -> Scores:
        """For each group, the sum of (R + j) / (start + j) over its relevant rows j = 1..r."""
        sums: Scores = self.relevant - (start - self.relevant_before) * reciprocals
        return sums

    @functools.cached_property
    def _whole_sums(self) -> Scores:
        return _precision_sums(self._ties, _sum_of_reciprocals(self._starts, self._stops))

    @property
    def _ties(self) -> Ties:
        return Ties(self.relevant, self.rows, self.relevant_before, self.rows_before, self.rows)

    @functools.cached_property
    def _edges(self) -> _Harmonic:
        """For the ranks at which groups end, and 0 before the first: [q, n_bits + 2] each."""
        return _harmonic(np.pad(self.rows_until, ((0, 0), (1, 0))))

    @property
    def _starts(self) -> _Harmonic:
        return _Harmonic(*(part[:, :-1] for part in self._edges))

    @property
    def _stops(self) -> _Harmonic:
        return _Harmonic(*(part[:, 1:] for part in self._edges))


def precision_sums(ties: Ties) -> Scores:
    """What each of some groups adds, in their shape; see `TiedGroups.precision_sums`."""
    stop = _harmonic(ties.rows_before + ties.ranked)
    return _precision_sums(ties, _sum_of_reciprocals(_harmonic(ties.rows_before), stop))


def _precision_sums(ties: Ties, reciprocals: Scores) -> Scores:
    # sum of (j - 1) / (N + j) over j = 1..m, written through the sum of 1 / (N + j)
    ramp = ties.ranked - (ties.rows_before + 1) * reciprocals
    share = ties.relevant / np.maximum(ties.rows, 1)
    slope = np.maximum(ties.relevant - 1, 0) / np.maximum(ties.rows - 1, 1)
    sums: Scores = share * ((ties.relevant_before + 1) * reciprocals + slope * ramp)
    return sums


def check_cutoff(cutoff: int, argument: str = "cutoff") -> None:
    """Raise `ConfigError`, which names the argument, unless ``cutoff`` is at least 1."""
    if cutoff < 1:
        raise ConfigError(f"`{argument}` must be at least 1, not {cutoff}")


_HARMONIC: Final = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 65))])


def _harmonic(ranks: NDArray[Any]) -> _Harmonic:
    rank = np.maximum(ranks, 64.0)
    return _Harmonic(_HARMONIC[np.minimum(ranks, 64)], rank, _tail(rank))


def _sum_of_reciprocals(start: _Harmonic, stop: _Harmonic) -> Scores:
    """Sum of 1 / t over ``start < t <= stop``.

    Uses a table up to 64 and Euler-Maclaurin for larger harmonic numbers. The difference is taken
    term by term, the logarithms as ``log1p``, so that short ranges far down a ranking of 10^8 rows
    keep all their digits.
    """
    table = stop.table - start.table
    logarithms = np.log1p((stop.rank - start.rank) / start.rank)
    result: Scores = table + logarithms + stop.tail - start.tail
    return result


def _tail(n: Scores) -> Scores:
    """Harmonic number of n minus log n and Euler's constant; the next term is below 2e-17."""
    square = 1.0 / (n * n)
    tail: Scores = 0.5 / n - square * (1 / 12 - square * (1 / 120 - square / 252))
    return tail
