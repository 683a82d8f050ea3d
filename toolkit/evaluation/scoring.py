"""Scores of every query of an evaluation, from two passes over the database."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase
from hashkit.evaluation.average_precision import (
    average_precision,
    best_average_precision,
    convention_named,
    worst_average_precision,
)
from hashkit.evaluation.ndcg import ndcg_at
from hashkit.evaluation.own_rows import OwnRows
from hashkit.evaluation.passes import Passes
from hashkit.evaluation.precision_recall import expected_hits
from hashkit.evaluation.relevance import MatchedLabels
from hashkit.threads import run_parallel

__all__ = ["Measures", "Progress", "QueryScores", "average_precisions", "score_queries"]

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, counted in database rows processed; ends with done == total."""

_QUERY_BLOCK: Final = 4096
"""Most queries in memory at a time."""

_HISTOGRAM_BYTES: Final = 2**26
"""Most bytes of their histograms: a query takes 1,040 bytes with 64 bits and one label."""

_CHUNK_QUERIES: Final = 128
"""Queries scored at a time, few enough that intermediate results stay in cache."""


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


def score_queries(
    query_codes: NDArray[np.uint8],
    n_bits: int,
    databases: Sequence[CodeDatabase],
    labels: MatchedLabels,
    measures: Measures,
    progress: Progress | None = None,
    own_rows: OwnRows | None = None,
) -> QueryScores:
    """Score every query against the whole database.

    Memory is the result, a few times `_HISTOGRAM_BYTES` for histograms, and a few segments of rows
    per core; it does not grow with the database.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)], q at least 1.
    databases
        The databases; deleted rows are left out.
    labels
        Labels of queries and databases.
    own_rows
        The row of each query itself, which is left out of its ranking; None to leave out nothing.
    """
    passes = Passes(query_codes, n_bits, databases, labels, own_rows)
    blocks = _query_blocks(len(query_codes), labels.n_grades * (n_bits + 1))
    rows_done = _row_counter(progress, sum(map(len, databases)), len(blocks))
    parts: list[QueryScores] = []
    for block in blocks:
        histograms = passes.histograms(block, rows_done)
        row_order_sums = passes.row_order_sums(block, histograms, rows_done)
        parts += run_parallel(
            [
                functools.partial(_scores, histograms[chunk], row_order_sums[chunk], measures)
                for chunk in _slices(len(histograms), _CHUNK_QUERIES)
            ]
        )
    return _stacked(parts)


def average_precisions(
    query_codes: NDArray[np.uint8],
    n_bits: int,
    databases: Sequence[CodeDatabase],
    labels: MatchedLabels,
) -> NDArray[np.float64]:
    """Average precision of the whole ranking, mean over tie orders, float64 [q], in one pass."""
    passes = Passes(query_codes, n_bits, databases, labels)
    scores: list[NDArray[np.float64]] = []
    for block in _query_blocks(len(query_codes), labels.n_grades * (n_bits + 1)):
        histograms = passes.histograms(block, lambda _: None)
        scores += [
            _average_precision(histograms[chunk])
            for chunk in _slices(len(histograms), _CHUNK_QUERIES)
        ]
    return np.concatenate(scores)


def _average_precision(histograms: NDArray[np.int64]) -> NDArray[np.float64]:
    return average_precision(histograms[:, 1:].sum(axis=1), histograms.sum(axis=1))


def _scores(
    histograms: NDArray[np.int64], row_order_sums: NDArray[np.float64], measures: Measures
) -> QueryScores:
    hits, rows = histograms[:, 1:].sum(axis=1), histograms.sum(axis=1)
    n_relevant = np.maximum(hits.sum(axis=1), 1)
    ks = np.array([*measures.ks, *measures.curve_ks])
    found = expected_hits(hits, rows, ks.tolist())
    precision, recall = found / ks, found / n_relevant[:, None]
    n_ks = len(measures.ks)
    convention = convention_named(measures.convention)
    return QueryScores(
        relevant_histogram=hits,
        total_histogram=rows,
        expected=average_precision(hits, rows),
        best=best_average_precision(hits, rows),
        worst=worst_average_precision(hits, rows),
        row_order=row_order_sums / n_relevant,
        at_cutoffs=_columns([convention(hits, rows, R) for R in measures.cutoffs], len(hits)),
        precision_at=precision[:, :n_ks],
        recall_at=recall[:, :n_ks],
        ndcg_at=ndcg_at(histograms, measures.ks, measures.gain),
        curve_precision=precision[:, n_ks:],
        curve_recall=recall[:, n_ks:],
    )


def _query_blocks(n_queries: int, n_cells: int) -> list[slice]:
    """Blocks of queries whose histograms, ``n_cells`` per query, are in memory together."""
    return _slices(n_queries, max(1, min(_QUERY_BLOCK, _HISTOGRAM_BYTES // (8 * n_cells))))


def _slices(n_items: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, n_items)) for start in range(0, n_items, size)]


def _row_counter(progress: Progress | None, n_rows: int, n_blocks: int) -> Callable[[int], None]:
    """Report progress in rows of two passes, for any number of query blocks."""
    passed = 0

    def rows_done(n_more: int) -> None:
        nonlocal passed
        passed += n_more
        if progress is not None:
            progress(passed // n_blocks, 2 * n_rows)

    return rows_done


def _columns(columns: list[NDArray[np.float64]], n_rows: int) -> NDArray[np.float64]:
    return np.array(columns, dtype=np.float64).reshape(len(columns), n_rows).T


def _stacked(parts: list[QueryScores]) -> QueryScores:
    joined: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(QueryScores)
    }
    return QueryScores(**joined)
