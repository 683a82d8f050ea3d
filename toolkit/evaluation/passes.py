"""The two passes over a database from which all numbers of an evaluation are computed.

The first counts, for each query, the rows at each grade (labels shared) and distance. The second
uses these counts to find the rank of each relevant row with ties in row order. Both are compiled,
run on all cores, and hold only a few segments of rows at a time.

A task is one segment of rows for one chunk of queries. Counts and sums are whole numbers, so
results do not depend on segments, on the number of cores, or on how rows are spread over databases.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase
from hashkit.evaluation.exact_sums import as_floats, no_sums, total
from hashkit.evaluation.label_blocks import LabelBlock
from hashkit.evaluation.own_rows import OwnOfSegment, OwnRows
from hashkit.evaluation.relevance import MatchedLabels
from hashkit.threads import available_cpus, run_parallel

if TYPE_CHECKING:
    from hashkit.kernels.labelled_rows import Queries, Rows

__all__ = ["Passes", "RankStarts", "RowsDone", "rank_starts"]

RowsDone: TypeAlias = Callable[[int], None]
"""Called with the number of database rows that a part of a pass has processed."""

_SEGMENT_ROWS: Final = 131_072
"""Rows per segment: 0.1 ms of work for one query, more than the overhead of a task."""

_SEGMENT_CELLS: Final = 2**23
"""Label cells per segment: wide label matrices are read in fewer rows, 8 MiB at a time."""

_CHUNK_QUERIES: Final = 32
"""Fewest queries per task: each task rearranges the codes, which costs as much as ten queries."""


@dataclasses.dataclass(frozen=True)
class _Segment:
    """Consecutive rows of one database, ready for a kernel."""

    codes: NDArray[np.uint8]  # contiguous, at least 8 bytes
    labels: LabelBlock
    n_rows: int
    own: OwnOfSegment

    def for_kernels(self) -> Rows:
        from hashkit.kernels.labelled_rows import Rows

        # An address, not an array: a memory-mapped bank's array is read-only and unaligned, and
        # numba would compile the kernel again for that type.
        address = np.uint64(self.codes.ctypes.data)
        size = self.codes.shape[1]
        labels = self.labels
        return Rows(address, self.codes.nbytes, self.n_rows, size, labels.ids, labels.words)


@dataclasses.dataclass(frozen=True)
class _Span:
    """Position of a segment: rows ``first`` to ``last`` (exclusive) of a database, by its index."""

    database: int
    first: int
    last: int


class RankStarts(NamedTuple):
    """What ranks before the next row of each distance, when rows are visited in order.

    Attributes
    ----------
    rows, hits
        int64 [q, n_bits + 2], rows and relevant rows; the last column counts rows left out.
    """

    rows: NDArray[np.int64]
    hits: NDArray[np.int64]


def rank_starts(parts: Sequence[NDArray[np.int64]]) -> list[RankStarts]:
    """Where the ranks of each part's rows start.

    Parameters
    ----------
    parts
        `Passes.histograms` of each part of a database, in the order of their rows.
    """
    rows = [part.sum(axis=1) for part in parts]
    hits = [part[:, 1:].sum(axis=1) for part in parts]
    return list(map(RankStarts, _starts(rows), _starts(hits)))


class Passes:
    """The passes for some queries and databases.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)], q at least 1.
    databases
        Their rows are concatenated; deleted rows are left out.
    labels
        Labels of queries and databases.
    own_rows
        The row of each query itself, which is left out of its ranking, in one or several of the
        databases; None to leave out no rows.
    """

    def __init__(
        self,
        query_codes: NDArray[np.uint8],
        n_bits: int,
        databases: Sequence[CodeDatabase],
        labels: MatchedLabels,
        own_rows: OwnRows | Sequence[OwnRows] | None = None,
    ) -> None:
        self._query_bytes = _even_columns(query_codes)
        self._databases = databases
        self._labels = labels
        all_own_rows = [own_rows] if isinstance(own_rows, OwnRows) else own_rows or ()
        self._own_rows = {rows.database: rows for rows in all_own_rows}
        self._n_distances = n_bits + 1
        self._spans = _spans(databases, labels.row_cells)

    def histograms(self, queries: slice, rows_done: RowsDone) -> NDArray[np.int64]:
        """Rows at each grade and distance.

        Returns
        -------
        NDArray
            int64 [q, n_grades, n_bits + 1] for the queries of the slice.
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
        """Precision sums of the whole ranking, ordered by (distance, row), of these rows alone.

        Parameters
        ----------
        histograms
            The result of `histograms` for the same queries.

        Returns
        -------
        NDArray
            float64 [q].
        """
        (starts,) = rank_starts([histograms])
        return as_floats(self.precision_sums(queries, starts, rows_done))

    def precision_sums(
        self, queries: slice, starts: RankStarts, rows_done: RowsDone
    ) -> NDArray[np.uint64]:
        """Sums of the precision at each relevant row, in a ranking ordered by (distance, row).

        Parameters
        ----------
        starts
            Where the ranks of these rows start for these queries.

        Returns
        -------
        NDArray
            uint64 [q, 2], see `hashkit.evaluation.exact_sums`.
        """
        before = (starts.rows.copy(), starts.hits.copy())
        sums = no_sums(len(starts.rows))
        chunks = _chunks(queries)
        for spans in self._waves(len(chunks)):
            segments = self._load(spans)
            of_segments = []
            # Segments that run in parallel start from the counts of the segments before them; the
            # last one updates the counts in place.
            for counted in self._counted(segments[:-1], chunks):
                of_segments.append((before[0].copy(), before[1].copy()))
                before[0][:, :-1] += counted.sum(axis=1)
                before[1][:, :-1] += counted[:, 1:].sum(axis=1)
            of_segments.append(before)
            sums = total([sums, *self._ordered(segments, of_segments, chunks)])
            rows_done(sum(span.last - span.first for span in spans))
        return sums

    def _waves(self, n_chunks: int) -> Iterator[list[_Span]]:
        """Spans processed together: enough for all cores, so one if there are many queries.

        Not more, because the rows of all but the last must be counted once more for the ranks.
        """
        size = -(-available_cpus() // n_chunks)
        for start in range(0, len(self._spans), size):
            yield self._spans[start : start + size]

    def _load(self, spans: Sequence[_Span]) -> list[_Segment]:
        return run_parallel([functools.partial(self._segment, span) for span in spans])

    def _segment(self, span: _Span) -> _Segment:
        database = self._databases[span.database]
        labels = self._labels.rows(span.database, span.first, span.last)
        # The kernels count up to n_bits; damaged codes would make them write past the end.
        codes = check_codes(
            database.codes[span.first : span.last], self._n_distances - 1, "database codes"
        )
        live = None
        deleted = database.deleted
        if deleted is not None and deleted[span.first : span.last].any():
            live = ~deleted[span.first : span.last]
            codes = codes[live]
            ids = labels.ids[live] if len(labels.ids) else labels.ids
            labels = LabelBlock(ids, np.ascontiguousarray(labels.words[:, live]))
        n_rows = len(codes)
        own = OwnOfSegment.none()
        if span.database in self._own_rows:
            rows = self._own_rows[span.database]
            own = rows.of_segment(span.database, span.first, span.last, live=live)
            own = own.graded(labels, self._labels.query_block)
        if codes.size < 8:  # a kernel reads 8 bytes at a time
            codes = np.concatenate([codes, np.zeros((8, codes.shape[1]), np.uint8)])
        return _Segment(np.ascontiguousarray(codes), labels, n_rows, own)

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
        segment.own.subtract(chunk, histograms)
        return histograms

    def _ordered(
        self,
        segments: Sequence[_Segment],
        starts: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
        chunks: Sequence[slice],
    ) -> list[NDArray[np.uint64]]:
        """Precision sums of each segment's rows, uint64 [q, 2]."""
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
    ) -> NDArray[np.uint64]:
        from hashkit.kernels.row_order import add_row_order

        queries = self._queries(chunk)
        sums = no_sums(len(queries.codes))
        order = np.argsort(queries.ids, kind="stable") if len(queries.ids) else np.arange(len(sums))
        skipped = segment.own.skipped(chunk)
        before = (rows_before, hits_before)
        add_row_order(segment.for_kernels(), queries, order, skipped, *before, sums)
        return sums

    def _queries(self, chunk: slice) -> Queries:
        from hashkit.kernels.labelled_rows import Queries

        labels = self._labels.query_block
        return Queries(self._query_bytes[chunk], labels.ids[chunk], labels.words[chunk])


def _starts(parts: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """For each part: counts at smaller distances, and of the parts before it at the same one.

    int64 [q, n_bits + 1] each; the result has a last column of zeros.
    """
    whole = functools.reduce(np.add, parts)
    before = np.pad(np.cumsum(whole, axis=1) - whole, ((0, 0), (0, 1)))
    for part in parts:
        yield before.copy()
        before[:, :-1] += part


def _joined(parts: Sequence[NDArray[Any]], n_chunks: int) -> list[NDArray[Any]]:
    """Concatenate the query chunks of each segment: one array per segment."""
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
    """The queries in equal parts, one per core, each of at least `_CHUNK_QUERIES` if possible."""
    n_queries = queries.stop - queries.start
    n_chunks = max(1, min(available_cpus(), n_queries // _CHUNK_QUERIES))
    bounds = np.linspace(queries.start, queries.stop, n_chunks + 1).astype(int).tolist()
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _even_columns(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes, with a zero column added if their number of bytes is odd."""
    return np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
