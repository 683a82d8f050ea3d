"""Scores of every query of an evaluation, from two passes over the parts of the database."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.average_precision import (
    average_precision,
    best_average_precision,
    convention_named,
    worst_average_precision,
)
from hashkit.evaluation.exact_sums import as_floats, total
from hashkit.evaluation.ndcg import ndcg_at
from hashkit.evaluation.part_task import EvaluationPart, EvaluationTask
from hashkit.evaluation.passes import RowsDone, rank_starts
from hashkit.evaluation.precision_recall import expected_hits
from hashkit.evaluation.tied_groups import TiedGroups
from hashkit.threads import Together, available_cpus, one_by_one, run_parallel

__all__ = [
    "Measures",
    "PartOfTask",
    "QueryScores",
    "average_precisions",
    "query_blocks",
    "score_queries",
]

_QUERY_BLOCK: Final = 4096
"""Most queries in memory at a time."""

_HISTOGRAM_BYTES: Final = 2**26
"""Most bytes of their histograms: a query takes 1,040 bytes with 64 bits and one label."""

_PARTS_IN_MEMORY: Final = 8
"""Parts whose histograms may be in memory together; with more of them, blocks are smaller."""

_CHUNK_CELLS: Final = 2**15
"""Most distances of queries scored at a time: 256 KiB for each intermediate result. With fewer,
calls of NumPy take longer than its loops."""


@dataclasses.dataclass(frozen=True)
class Measures:
    """The metrics to compute besides those of the whole ranking.

    Attributes
    ----------
    convention
        A name in `hashkit.evaluation.average_precision.CONVENTIONS`, for the cut-offs.
    cutoffs
        The R of average precision of the top R.
    ks
        The k of precision@k, recall@k and NDCG@k.
    gain
        A name in `hashkit.evaluation.ndcg.GAINS`, for NDCG.
    curve_ks
        The k of the curves of precision and recall by rank.
    """

    convention: str
    cutoffs: tuple[int, ...]
    ks: tuple[int, ...]
    gain: str
    curve_ks: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class QueryScores:
    """Scores, one row per query; a query without relevant rows has average precision 0.

    Attributes
    ----------
    relevant_histogram, total_histogram
        int64 [q, n_bits + 1], number of relevant rows and of all rows at each distance.
    expected, best, worst, row_order
        float64 [q], average precision of the whole ranking by order of the ties.
    at_cutoffs
        float64 [q, n_cutoffs], average precision of the top R under the convention.
    precision_at, recall_at, ndcg_at
        float64 [q, n_ks].
    curve_precision, curve_recall
        float64 [q, n_curve_ks].
    """

    relevant_histogram: NDArray[np.int64]
    total_histogram: NDArray[np.int64]
    expected: NDArray[np.float64]
    best: NDArray[np.float64]
    worst: NDArray[np.float64]
    row_order: NDArray[np.float64]
    at_cutoffs: NDArray[np.float64]
    precision_at: NDArray[np.float64]
    recall_at: NDArray[np.float64]
    ndcg_at: NDArray[np.float64]
    curve_precision: NDArray[np.float64]
    curve_recall: NDArray[np.float64]


class PartOfTask(NamedTuple):
    """A part of a database, and what it counts."""

    part: EvaluationPart
    task: EvaluationTask


def score_queries(
    parts: Sequence[PartOfTask],
    measures: Measures,
    rows_done: RowsDone = lambda _: None,
    together: Together = one_by_one,
) -> QueryScores:
    """Score every query against the whole database.

    Memory is the result, a few times `_HISTOGRAM_BYTES` for histograms, and a few segments of rows
    per core; it does not grow with the database.

    Parameters
    ----------
    parts
        The parts, in the order of their rows; all with the same queries, at least one.
    rows_done
        Called with numbers of rows, which add up to twice all rows for each block of queries.
    together
        Runs the calls of all parts.
    """
    scores: list[QueryScores] = []
    for block in query_blocks(parts):
        counted = _histograms(parts, block, rows_done, together)
        summed = together(
            [
                functools.partial(part.precision_sums, task, block, starts, rows_done)
                for (part, task), starts in zip(parts, rank_starts(counted), strict=True)
            ]
        )
        histograms, row_order_sums = functools.reduce(np.add, counted), as_floats(total(summed))
        scores += run_parallel(
            [
                functools.partial(_scores, histograms[chunk], row_order_sums[chunk], measures)
                for chunk in _chunks(histograms)
            ]
        )
    return _stacked(scores)


def average_precisions(parts: Sequence[PartOfTask]) -> NDArray[np.float64]:
    """Average precision of the whole ranking, mean over tie orders, float64 [q], in one pass."""
    scores: list[NDArray[np.float64]] = []
    for block in query_blocks(parts):
        histograms = functools.reduce(np.add, _histograms(parts, block, lambda _: None, one_by_one))
        scores += [
            average_precision(TiedGroups.of_grades(histograms[chunk]))
            for chunk in _chunks(histograms)
        ]
    return np.concatenate(scores)


def query_blocks(parts: Sequence[PartOfTask]) -> list[slice]:
    """Blocks of queries whose histograms are in memory together."""
    task = parts[0].task
    n_cells = task.labels.n_grades * (task.n_bits + 1) * -(-len(parts) // _PARTS_IN_MEMORY)
    size = max(1, min(_QUERY_BLOCK, _HISTOGRAM_BYTES // (8 * n_cells)))
    return _slices(len(task.query_codes), size)


def _histograms(
    parts: Sequence[PartOfTask], block: slice, rows_done: RowsDone, together: Together
) -> list[NDArray[np.int64]]:
    return together(
        [functools.partial(part.histograms, task, block, rows_done) for part, task in parts]
    )


def _scores(
    histograms: NDArray[np.int64], row_order_sums: NDArray[np.float64], measures: Measures
) -> QueryScores:
    groups = TiedGroups.of_grades(histograms)
    n_relevant = np.maximum(groups.n_relevant, 1)
    ks = np.array([*measures.ks, *measures.curve_ks])
    found = expected_hits(groups, ks.tolist())
    precision, recall = found / ks, found / n_relevant[:, None]
    n_ks = len(measures.ks)
    convention = convention_named(measures.convention)
    at_cutoffs = [convention(groups, R) for R in measures.cutoffs]
    return QueryScores(
        relevant_histogram=groups.relevant,
        total_histogram=groups.rows,
        expected=average_precision(groups),
        best=best_average_precision(groups),
        worst=worst_average_precision(groups),
        row_order=row_order_sums / n_relevant,
        at_cutoffs=_columns(at_cutoffs, len(histograms)),
        precision_at=precision[:, :n_ks],
        recall_at=recall[:, :n_ks],
        ndcg_at=ndcg_at(histograms, measures.ks, measures.gain),
        curve_precision=precision[:, n_ks:],
        curve_recall=recall[:, n_ks:],
    )


def _chunks(histograms: NDArray[np.int64]) -> list[slice]:
    """The queries in parts, at least one per core."""
    most = max(1, _CHUNK_CELLS // histograms.shape[2])
    return _slices(len(histograms), min(most, -(-len(histograms) // available_cpus())))


def _slices(n_items: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n_items)) for start in range(0, n_items, size)]


def _columns(columns: list[NDArray[np.float64]], n_rows: int) -> NDArray[np.float64]:
    return np.array(columns, dtype=np.float64).reshape(len(columns), n_rows).T


def _stacked(parts: list[QueryScores]) -> QueryScores:
    joined: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(QueryScores)
    }
    return QueryScores(**joined)
