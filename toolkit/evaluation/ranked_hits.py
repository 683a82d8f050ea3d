"""Metrics up to a cut-off of rankings that are given rank by rank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.average_precision import convention_named, quotient
from hashkit.evaluation.report import CutoffMetrics, Report
from hashkit.evaluation.tied_groups import TiedGroups

__all__ = ["RankedHits"]


class RankedHits:
    """Collects rankings, one query after the other, and averages their metrics.

    Cut-offs, convention and the queries that count are those of a report of the same queries.

    Parameters
    ----------
    report
        The evaluation of the same queries and databases.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._n_ranked = report.n_database - report.exclude_self
        self._convention = convention_named(report.convention)
        n_queries = report.n_queries
        self._map_at = np.zeros((n_queries, len(report.map_at)))
        self._hits_at = np.zeros((n_queries, len(report.precision_at)))

    @property
    def cutoffs(self) -> list[int]:
        """The R and k of the metrics, ascending."""
        return sorted({*self._report.map_at, *self._report.precision_at})

    def add(self, query: int, is_hit: Mapping[int, NDArray[np.bool_]]) -> None:
        """Add the rankings of a query.

        Parameters
        ----------
        is_hit
            For each of `cutoffs` the ranking up to it: bool [m], whether each rank holds a relevant
            row; m is less than the cut-off if there are fewer rows.
        """
        n_relevant = int(self._report.n_relevant[query])
        for column, cutoff in enumerate(self._report.map_at):
            hits = is_hit[cutoff]
            # Every rank is a tie of its own; the last tie has all rows after the cut-off.
            rest = np.array([n_relevant - hits.sum(), self._n_ranked - len(hits)])
            relevant = np.append(hits, rest[0]).astype(np.int64)[None]
            total = np.append(np.ones(len(hits), np.int64), rest[1])[None]
            self._map_at[query, column] = self._convention(TiedGroups(relevant, total), cutoff)[0]
        for column, k in enumerate(self._report.precision_at):
            self._hits_at[query, column] = is_hit[k].sum()

    def means(self) -> CutoffMetrics:
        """Means over the queries that count."""
        n_relevant = self._report.n_relevant
        ks = np.array([*self._report.precision_at], dtype=np.int64)
        kept = n_relevant >= (self._report.without_relevant == "drop")
        recall = quotient(self._hits_at, n_relevant[:, None])

        def mean(values: NDArray[np.float64]) -> list[float]:
            return values[kept].mean(axis=0).tolist()  # type: ignore[no-any-return]

        return CutoffMetrics(
            map_at=dict(zip(self._report.map_at, mean(self._map_at), strict=True)),
            precision_at=dict(zip(ks.tolist(), mean(self._hits_at / ks), strict=True)),
            recall_at=dict(zip(ks.tolist(), mean(recall), strict=True)),
        )
