"""Scores of every query of an evaluation, streamed over the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit import metrics
from hashkit.hamming import Block, RelevantRows, split_histogram
from hashkit.index import Shards
from hashkit.roworder import row_order_average_precision

__all__ = ["Measures", "Progress", "QueryScores", "score_queries"]

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, counted in database rows passed over; ends with done == total."""

_QUERY_BLOCK: Final = 4096
"""Queries held at a time: at 64 bits their histograms take 4 MiB, whatever the database."""


@dataclasses.dataclass(frozen=True)
class Measures:
    """What is measured beyond the whole ranking.

    Attributes
    ----------
    convention
        A name in `hashkit.metrics.CONVENTIONS`, for the cut-offs.
    cutoffs
        The R of average precision of the top R.
    ks
        The k of precision@k and recall@k.
    """

    convention: str
    cutoffs: tuple[int, ...]
    ks: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class QueryScores:
    """One row for each query; a query without relevant rows has average precision 0.

    Attributes
    ----------
    n_relevant
        int64 [q], relevant rows in the database.
    expected, best, worst, row_order
        float64 [q], average precision of the whole ranking by order of the ties.
    at_cutoffs
        float64 [q, n_cutoffs], average precision of the top R under the convention.
    precision_at, recall_at
        float64 [q, n_ks].
    ball_precision, ball_recall, ball_is_empty
        float64, float64 and bool [q, n_bits + 1], by radius.
    """

    n_relevant: NDArray[np.int64]
    expected: NDArray[np.float64]
    best: NDArray[np.float64]
    worst: NDArray[np.float64]
    row_order: NDArray[np.float64]
    at_cutoffs: NDArray[np.float64]
    precision_at: NDArray[np.float64]
    recall_at: NDArray[np.float64]
    ball_precision: NDArray[np.float64]
    ball_recall: NDArray[np.float64]
    ball_is_empty: NDArray[np.bool_]


def score_queries(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    relevant: RelevantRows,
    measures: Measures,
    progress: Progress | None = None,
) -> QueryScores:
    """Score every query against the whole database.

    Memory is that of `_QUERY_BLOCK` queries' histograms and of the result; distances and ranks
    are never held for more than one query and one block of rows.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, size], q at least 1.
    shards
        The database.
    relevant
        Says which rows are relevant to a query.
    """
    starts = range(0, len(query_codes), _QUERY_BLOCK)
    counter = _RowCounter(progress, total=2 * len(starts) * len(shards))
    parts = []
    for start in starts:

        def relevant_here(
            query: int, first: int, last: int, start: int = start
        ) -> NDArray[np.bool_]:
            return relevant(start + query, first, last)

        block = query_codes[start : start + _QUERY_BLOCK]
        parts.append(_score_block(block, shards, relevant_here, measures, counter))
    return _stacked(parts)


class _RowCounter:
    """Passes blocks through and reports how many rows have gone by."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._done = 0
        self._total = total

    def counted(self, blocks: Iterator[Block]) -> Iterator[Block]:
        for first, codes in blocks:
            yield first, codes
            self._done += len(codes)
            if self._progress is not None:
                self._progress(self._done, self._total)


def _score_block(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    relevant: RelevantRows,
    measures: Measures,
    counter: _RowCounter,
) -> QueryScores:
    hits, rows = split_histogram(
        query_codes, counter.counted(shards.blocks()), shards.n_bits, relevant
    )
    row_order = row_order_average_precision(
        query_codes, counter.counted(shards.blocks()), hits, rows, relevant
    )
    ball_precision, ball_recall, ball_is_empty = metrics.within_radius(hits, rows)
    convention = metrics.convention_named(measures.convention)
    return QueryScores(
        n_relevant=hits.sum(axis=1),
        expected=metrics.average_precision(hits, rows),
        best=metrics.best_average_precision(hits, rows),
        worst=metrics.worst_average_precision(hits, rows),
        row_order=row_order,
        at_cutoffs=_columns([convention(hits, rows, R) for R in measures.cutoffs], len(hits)),
        precision_at=_columns(
            [metrics.precision_at(hits, rows, k) for k in measures.ks], len(hits)
        ),
        recall_at=_columns([metrics.recall_at(hits, rows, k) for k in measures.ks], len(hits)),
        ball_precision=ball_precision,
        ball_recall=ball_recall,
        ball_is_empty=ball_is_empty,
    )


def _columns(columns: list[NDArray[np.float64]], n_rows: int) -> NDArray[np.float64]:
    return np.array(columns, dtype=np.float64).reshape(len(columns), n_rows).T


def _stacked(parts: list[QueryScores]) -> QueryScores:
    joined: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(QueryScores)
    }
    return QueryScores(**joined)
