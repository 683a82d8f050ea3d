"""The result of an evaluation: `Report`, whose fields are those of the JSON document."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.bit_statistics import BitStatistics

__all__ = ["CutoffMetrics", "Report", "Rescored", "WithoutRelevant"]

WithoutRelevant: TypeAlias = Literal["zero", "drop"]


@dataclasses.dataclass(frozen=True)
class CutoffMetrics:
    """Metrics up to a cut-off of rankings in one fixed order, means over queries.

    Attributes
    ----------
    map_at
        {R: mAP of the top R ranks}, under the report's convention.
    precision_at, recall_at
        {k: value}.
    """

    map_at: dict[int, float]
    precision_at: dict[int, float]
    recall_at: dict[int, float]


@dataclasses.dataclass(frozen=True)
class Rescored(CutoffMetrics):
    """Metrics of rankings in which the nearest rows are ordered by the queries' logits.

    The metrics up to R or k are those of the ``oversample`` times R or k nearest rows by (distance,
    row), ordered by (asymmetric distance, distance, row), of which the first R or k are kept.

    Attributes
    ----------
    oversample
        How many times R or k rows are ordered.
    hamming
        The same metrics of the rankings by (distance, row), for comparison.
    """

    oversample: int
    hamming: CutoffMetrics


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics of one evaluation, means over queries; docs/metrics.md defines each.

    Attributes
    ----------
    bits
        Code length.
    n_queries, n_database
        Number of queries and of database rows, without deleted rows.
    n_without_relevant
        Queries without a relevant database row.
    without_relevant
        ``zero``: these queries count as 0 in every mean; ``drop``: they are left out.
    exclude_self
        Whether the row that is the query itself was left out of the ranking of each query.
    map
        mAP: whole ranking, mean over tie orders, divided by all relevant rows.
    map_best, map_worst, map_index
        The same with the relevant rows of each tie first, last, and with ties in row order.
    map_interval
        [low, high], the confidence interval of ``map`` over queries; None for a single query.
    interval
        How intervals are computed: ``method``, ``level``, ``resamples``, ``seed``.
    convention
        Divisor of ``map_at``; a name in `hashkit.evaluation.average_precision.CONVENTIONS`.
    map_at
        {R: mAP of the top R ranks}, mean over tie orders.
    precision_at, recall_at, ndcg_at
        {k: value}, mean over tie orders.
    ndcg_gain
        Gain by shared labels in ``ndcg_at``; a name in `hashkit.evaluation.ndcg.GAINS`.
    precision_radius_2, empty_radius_2
        Precision within radius 2 (0 for an empty ball), and the share of empty balls.
    per_label
        {class: ``map`` over its queries}.
    per_label_queries
        {class: number of queries that ``per_label`` averages}.
    per_label_interval
        {class: [low, high] of its ``map``}; None for a class of a single query.
    pr_curve
        For each radius in bits: ``radius``, ``precision``, ``recall``, and ``empty``, the share
        of empty balls.
    rank_curve
        For k evenly spaced on a logarithmic scale, up to the whole database: ``k``, ``precision``
        and ``recall``, mean over tie orders.
    distances
        ``relevant`` and ``other``: number of (query, row) pairs at each distance, 0 to ``bits``.
    bit_statistics
        Statistics of the database's codes.
    average_precision
        float64 [n_queries], average precision of each query in order, without deleted queries;
        ``map`` is its mean. ``drop`` removes no query here. Not in the JSON.
    n_relevant
        int64 [n_queries], number of relevant rows of each query. Not in the JSON.
    rescored
        Metrics after rescoring; None, and not in the JSON, without it.
    """

    bits: int
    n_queries: int
    n_database: int
    n_without_relevant: int
    without_relevant: WithoutRelevant
    exclude_self: bool
    map: float
    map_best: float
    map_worst: float
    map_index: float
    map_interval: list[float] | None
    interval: dict[str, Any]
    convention: str
    map_at: dict[int, float]
    precision_at: dict[int, float]
    recall_at: dict[int, float]
    ndcg_at: dict[int, float]
    ndcg_gain: str
    precision_radius_2: float
    empty_radius_2: float
    per_label: dict[str, float]
    per_label_queries: dict[str, int]
    per_label_interval: dict[str, list[float] | None]
    pr_curve: list[dict[str, float]]
    rank_curve: list[dict[str, float]]
    distances: dict[str, list[int]]
    bit_statistics: BitStatistics
    average_precision: NDArray[np.float64] = dataclasses.field(repr=False, compare=False)
    n_relevant: NDArray[np.int64] = dataclasses.field(repr=False, compare=False)
    rescored: Rescored | None = None

    def __repr__(self) -> str:
        return (
            f"<Report: {self.n_queries} queries, {self.n_database} rows of {self.bits} bits, mAP "
            f"{self.map:.4f} ({self.map_worst:.4f} to {self.map_best:.4f} by the order of ties)>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values; cut-offs become strings, because JSON keys are strings."""
        fields = dataclasses.asdict(self)
        del fields["average_precision"], fields["n_relevant"]
        _name_cutoffs(fields)
        if self.rescored is None:
            del fields["rescored"]
        else:
            _name_cutoffs(fields["rescored"])
            _name_cutoffs(fields["rescored"]["hamming"])
        return fields


def _name_cutoffs(fields: dict[str, Any]) -> None:
    """Turn the cut-offs of metrics into text."""
    for name in ("map_at", "precision_at", "recall_at", "ndcg_at"):
        if name in fields:
            fields[name] = {str(cutoff): value for cutoff, value in fields[name].items()}
