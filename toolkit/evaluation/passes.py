"""The two passes over a database that every number of an evaluation comes from.

The first counts, for each query, the rows at each grade (labels shared) and distance. The second,
which needs the first, follows each relevant row to its rank where ties are in row order. Both are
compiled, run on all cores, and hold no more than a few segments of rows at a time.

Work is split into tasks: a segment of rows, for a chunk of queries. Segments lie the same whatever
the machine, and their sums are added in order, so results do not depend on the number of cores.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase
from hashkit.evaluation.label_blocks import LabelBlock
from hashkit.evaluation.relevance import MatchedLabels
from hashkit.threads import available_cpus, run_parallel

if TYPE_CHECKING:
    from hashkit.kernels.histograms import Queries, Rows

__all__ = ["Passes"]

RowsDone: TypeAlias = Callable[[int], None]
"""Called with the number of database rows that a part of a pass went over."""

_SEGMENT_ROWS: Final = 131_072
"""Rows of a segment: a tenth of a millisecond of work for one query, more than a task costs."""

_SEGMENT_CELLS: Final = 2**23
"""Label cells of a segment: wide label matrices are read in fewer rows, 8 MiB at a time."""

_CHUNK_QUERIES: Final = 32
"""Queries of a task, at least: laying out codes anew for each costs as much as ten queries do."""


@dataclasses.dataclass(frozen=True)
class _Segment:
    """Consecutive rows of one database, ready for a kernel."""

    codes: NDArray[np.uint8]  # contiguous, 8 bytes at least
    labels: LabelBlock
    n_rows: int

    def for_kernels(self) -> Rows:
        from hashkit.kernels.histograms import Rows

        # Not an array: a mapped bank's is read-only and unaligned, which would compile anew.
        address = np.uint64(self.codes.ctypes.data)
        size = self.codes.shape[1]
        labels = self.labels
        return Rows(address, self.codes.nbytes, self.n_rows, size, labels.ids, labels.words)


@dataclasses.dataclass(frozen=True)
class _Span:
    """Where a segment lies: rows ``first`` to ``last`` of the database at a place."""

    database: int
    first: int
    last: int


class Passes:
    """Queries and databases to pass over.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)], q at least 1.
    databases
        Their rows follow each other; deleted ones are left out.
    labels
        Labels of both.
    """

    def __init__(
        self,
        query_codes: NDArray[np.uint8],
        n_bits: int,
        databases: Sequence[CodeDatabase],
        labels: MatchedLabels,
    ) -> None:
        self._query_bytes = _even_columns(query_codes)
        self._databases = databases
        self._labels = labels
        self._n_distances = n_bits + 1
        self._spans = _spans(databases, labels.row_cells)

    def histograms(self, queries: slice, rows_done: RowsDone) -> NDArray[np.int64]:
        """Rows at each grade and distance.

        Returns
        -------
        NDArray
            int64 [q, n_grades, n_bits + 1] of the queries of the slice.
        """
        n_queries = queries.stop - queries.start
        total = np.zeros((n_queries, self._labels.n_grades, self._n_distances), dtype=np.int64)
        chunks = _chunks(queries)
        for spans in self._waves(len(chunks)):
            for counted in self._counted(self._load(spans), chunks):
                total += counted
            rows_done(sum(span.last - span.first for span in spans))
        return total

    def row_order_sums(
        self, queries: slice, histograms: NDArray[np.int64], rows_done: RowsDone
    ) -> NDArray[np.float64]:
        """Precision sums of the whole ranking, ordered by (distance, row).

        Parameters
        ----------
        histograms
            What `histograms` gave for the same queries.

        Returns
        -------
        NDArray
            float64 [q].
        """
        rows, hits = histograms.sum(axis=1), histograms[:, 1:].sum(axis=1)
        # Rows, and relevant rows, that rank before the next row of each distance.
        before = (np.cumsum(rows, axis=1) - rows, np.cumsum(hits, axis=1) - hits)
        sums = np.zeros(len(rows))
        chunks = _chunks(queries)
        for spans in self._waves(len(chunks)):
            segments = self._load(spans)
            starts = []
            # Segments that run side by side start from counts of those before them; the last one
            # moves the counts on by itself.
            for counted in self._counted(segments[:-1], chunks):
                starts.append((before[0].copy(), before[1].copy()))
                before[0][:] += counted.sum(axis=1)
                before[1][:] += counted[:, 1:].sum(axis=1)
            starts.append(before)
            for added in self._ordered(segments, starts, chunks):
                sums += added
            rows_done(sum(span.last - span.first for span in spans))
        return sums

    def _waves(self, n_chunks: int) -> Iterator[list[_Span]]:
        """Spans that are worked on together: enough for all cores, so one if queries are many."""
        size = -(-2 * available_cpus() // n_chunks)
        for start in range(0, len(self._spans), size):
            yield self._spans[start : start + size]

    def _load(self, spans: Sequence[_Span]) -> list[_Segment]:
        return run_parallel([functools.partial(self._segment, span) for span in spans])

    def _segment(self, span: _Span) -> _Segment:
        database = self._databases[span.database]
        labels = self._labels.rows(span.database, span.first, span.last)
        codes = database.codes[span.first : span.last]
        deleted = database.deleted
        if deleted is not None and deleted[span.first : span.last].any():
            live = ~deleted[span.first : span.last]
            codes = codes[live]
            ids = labels.ids[live] if len(labels.ids) else labels.ids
            labels = LabelBlock(ids, np.ascontiguousarray(labels.words[:, live]))
        n_rows = len(codes)
        if codes.size < 8:  # a kernel reads 8 bytes at a time
            codes = np.concatenate([codes, np.zeros((8, codes.shape[1]), np.uint8)])
        return _Segment(np.ascontiguousarray(codes), labels, n_rows)

    def _counted(
        self, segments: Sequence[_Segment], chunks: Sequence[slice]
    ) -> list[NDArray[np.int64]]:
        """Histograms of each segment, int64 [q, n_grades, n_bits + 1]."""
        parts = run_parallel(
            [functools.partial(self._count, one, chunk) for one in segments for chunk in chunks]
        )
        return _joined(parts, len(chunks))

    def _count(self, segment: _Segment, chunk: slice) -> NDArray[np.int64]:
        from hashkit.kernels.histograms import add_histograms

        queries = self._queries(chunk)
        shape = (len(queries.codes), self._labels.n_grades, self._n_distances)
        histograms = np.zeros(shape, dtype=np.int64)
        add_histograms(segment.for_kernels(), queries, histograms)
        return histograms

    def _ordered(
        self,
        segments: Sequence[_Segment],
        starts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
        chunks: Sequence[slice],
    ) -> list[NDArray[np.float64]]:
        """Precision sums of each segment's rows, float64 [q]."""
        offset = chunks[0].start
        tasks = [
            functools.partial(
                self._order,
                segment,
                chunk,
                rows_before[chunk.start - offset : chunk.stop - offset],
                hits_before[chunk.start - offset : chunk.stop - offset],
            )
            for segment, (rows_before, hits_before) in zip(segments, starts, strict=True)
            for chunk in chunks
        ]
        return _joined(run_parallel(tasks), len(chunks))

    def _order(
        self,
        segment: _Segment,
        chunk: slice,
        rows_before: NDArray[np.int64],
        hits_before: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        from hashkit.kernels.histograms import add_row_order

        queries = self._queries(chunk)
        sums = np.zeros(len(queries.codes))
        add_row_order(segment.for_kernels(), queries, rows_before, hits_before, sums)
        return sums

    def _queries(self, chunk: slice) -> Queries:
        from hashkit.kernels.histograms import Queries

        labels = self._labels.query_block
        return Queries(self._query_bytes[chunk], labels.ids[chunk], labels.words[chunk])


def _joined(parts: Sequence[NDArray[Any]], n_chunks: int) -> list[NDArray[Any]]:
    """Parts by query chunk of each segment, put together: one array a segment."""
    return [
        np.concatenate(parts[start : start + n_chunks]) for start in range(0, len(parts), n_chunks)
    ]


def _spans(databases: Sequence[CodeDatabase], row_cells: int) -> list[_Span]:
    size = max(1, min(_SEGMENT_ROWS, _SEGMENT_CELLS // row_cells))
    return [
        _Span(place, first, min(first + size, len(database)))
        for place, database in enumerate(databases)
        for first in range(0, len(database), size)
    ]


def _chunks(queries: slice) -> list[slice]:
    """The queries in equal parts, one for every core, but not in parts too small."""
    n_queries = queries.stop - queries.start
    n_chunks = max(1, min(available_cpus(), n_queries // _CHUNK_QUERIES))
    bounds = np.linspace(queries.start, queries.stop, n_chunks + 1).astype(int).tolist()
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _even_columns(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes with a column of 0 added where they take an odd number of bytes."""
    return np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
