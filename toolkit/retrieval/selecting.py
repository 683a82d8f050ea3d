"""Linear search in one pass: each query keeps the nearest rows seen so far."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.arrays import read_only
from hashkit.kernels.choice import SEVERAL, batch_time, scan_kernel
from hashkit.kernels.counts import block_words, quad_words, scan_counts
from hashkit.kernels.scan import scan_rows, select_rows
from hashkit.kernels.selection import Selection, order
from hashkit.kernels.sliced import plane_bytes, plane_scanner, query_picks
from hashkit.kernels.widths import COUNTS, PLANES, ROWS
from hashkit.kernels.words import row_words
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.scan_job import (
    ALL_KEPT,
    PAIRS_PER_CALL,
    ScanJob,
    kernel_spans,
    slices,
)
from hashkit.retrieval.shards import Shards
from hashkit.threads import run_parallel

__all__ = ["BatchSelection", "select", "select_at_once"]

_UINT16: Final = np.dtype(np.uint16)
_INT64: Final = np.dtype(np.int64)

_QUERIES_PER_THREAD: Final = 64
"""Queries per thread from which it costs little if each thread reads all rows."""

_DEEP_QUERIES_PER_THREAD: Final = 6
"""The same if, with separate rows, each thread would have to select many of its own."""

_HEAD_START: Final = 60_000
"""Nanoseconds by which the caller's thread is ahead of those that it wakes."""

_SHALLOW: Final = 256
"""Rows per wanted row above which it costs little if each part selects its own nearest rows."""

_CANDIDATE_BYTES: Final = 1 << 27
"""Memory for candidates, in bytes; if they need more, queries are searched in groups."""

_CANDIDATE_SIZE: Final = 10
"""Bytes of a candidate: its distance and its row."""


def select(job: ScanJob, n_threads: int) -> Neighbours:
    """The nearest rows of each query."""
    n_queries, n_rows = len(job.query_codes), job.shards.n_rows
    held = n_queries * _capacity(job.top_k) * _CANDIDATE_SIZE
    is_short = n_queries * n_rows <= PAIRS_PER_CALL and held <= _CANDIDATE_BYTES
    if is_short and n_threads == 1 and len(job.shards.codes) == 1:
        kernel = scan_kernel(n_queries, job.shards.n_bits, job.top_k / n_rows)
        if kernel == ROWS:
            return select_at_once(*job)
    # Threads with separate rows share the cost of reading and transposing them, but each must find
    # its own nearest rows. So threads take separate queries if there are many, or k is large.
    n_own = _QUERIES_PER_THREAD if job.top_k * _SHALLOW < n_rows else _DEEP_QUERIES_PER_THREAD
    n_query_parts = min(n_threads, max(1, n_queries // n_own))
    n_row_parts = n_threads // n_query_parts
    ahead = 0
    if n_query_parts == 1 < n_row_parts and n_queries >= SEVERAL:
        per_row = batch_time(n_queries, job.shards.n_bits, job.top_k / n_rows)
        ahead = int(_HEAD_START / per_row)
    n_groups = -(-held * n_row_parts // _CANDIDATE_BYTES)
    found: list[Neighbours] = []
    stop = _Stop()
    try:
        for group in slices(n_queries, n_groups):
            own = slices(group.stop - group.start, n_query_parts, group.start)
            selections = [
                BatchSelection(job.of(part), n_row_parts, stop=stop, ahead=ahead)
                for part in own
                if part.stop > part.start
            ]
            if n_row_parts == 1:
                found += run_parallel([selection.run for selection in selections])
            else:
                run_parallel([scan for selection in selections for scan in selection.scans()])
                found += [selection.found() for selection in selections]
    except BaseException:
        stop.is_set = True  # Ctrl-C came while this thread waited for others
        raise
    return Neighbours.joined(found)


def select_at_once(
    query_codes: NDArray[np.uint8], shards: Shards, top_k: int, radii: NDArray[np.int64]
) -> Neighbours:
    """Like `select`, in one call for a single database; takes the fields of a job.

    Scanning a small database takes less time than a few of the cheapest NumPy calls.
    """
    kept = shards.kept[0]
    distances, rows, offsets = _empty_result(len(query_codes), top_k)
    n_found = select_rows(
        shards.codes[0],
        0,
        ALL_KEPT if kept is None else read_only(kept),
        query_codes,
        shards.n_bits,
        radii,
        _capacity(top_k),
        distances,
        rows,
        offsets,
    )
    return _neighbours(distances, rows, offsets, n_found, shards)


def _capacity(top_k: int) -> int:
    return 2 * top_k + 64


class _Stop:
    """Whether scans end early: set by one thread, read by others. An event takes 5 us to make."""

    def __init__(self) -> None:
        self.is_set = False


class BatchSelection:
    """The nearest rows of some queries, selected in one pass over the database.

    Parameters
    ----------
    job
        The queries and the database.
    n_parts
        Parts of the database that are scanned in parallel.
    kernel
        See `hashkit.kernels.choice`; by default the fastest.
    stop
        Shared with other selections; set if a scan of one of them fails.
    ahead
        Number of rows that the first part has more than the others.
    """

    def __init__(
        self,
        job: ScanJob,
        n_parts: int,
        kernel: str | None = None,
        stop: _Stop | None = None,
        ahead: int = 0,
    ) -> None:
        query_codes, shards, top_k, radii = job
        self._shards = shards
        self._top_k = top_k
        self._parts = slices(len(shards), n_parts, ahead=ahead)
        n_queries = len(query_codes)
        self._counts = np.zeros((n_parts, n_queries, shards.n_bits + 1), dtype=np.int64)
        self._bounds = np.empty((n_parts, n_queries), dtype=np.int64)
        self._bounds[:] = np.minimum(radii, shards.n_bits) + 1
        self._n_below = np.zeros((n_parts, n_queries), dtype=np.int64)
        self._n_held = np.zeros((n_parts, n_queries), dtype=np.int64)
        self._distances = np.empty((n_parts, n_queries, _capacity(top_k)), dtype=np.uint16)
        self._rows = np.empty((n_parts, n_queries, _capacity(top_k)), dtype=np.int64)
        self._kernel = kernel or scan_kernel(n_queries, shards.n_bits, top_k / shards.n_rows)
        # The queries in the forms that the kernel takes.
        words = row_words(query_codes)
        self._queries: tuple[NDArray[Any], ...] = (words,)
        if self._kernel == PLANES:
            self._queries = (words, query_picks(query_codes))
        elif self._kernel == COUNTS:
            self._queries = (quad_words(words),)
        self._size = query_codes.shape[1]
        self._stop = stop or _Stop()

    def run(self) -> Neighbours:
        """Search in one thread, and return the result."""
        for scan in self.scans():
            scan()
        return self.found()

    def scans(self) -> list[Callable[[], None]]:
        """Tasks to run, possibly in parallel, before `found`."""
        return [partial(self._scan, part) for part in range(len(self._parts))]

    def _scan(self, part: int) -> None:
        state = Selection(
            self._counts[part],
            self._bounds[part],
            self._n_below[part],
            self._n_held[part],
            self._distances[part],
            self._rows[part],
        )
        scan: Callable[..., None] = scan_rows
        compared = self._queries
        if self._kernel == PLANES:
            scan = plane_scanner(self._shards.n_bits)
            compared += (np.empty(plane_bytes(self._size), np.uint8),)
        elif self._kernel == COUNTS:
            scan = scan_counts
            compared += (np.empty(block_words(self._size), np.uint64),)
        try:
            for span in kernel_spans(self._shards, self._parts[part], len(self._n_held[part])):
                if self._stop.is_set:
                    return
                scan(*span, *compared, self._top_k, state)
        except BaseException:
            self._stop.is_set = True  # Ctrl-C arrives in one thread; this stops the others
            raise

    def found(self) -> Neighbours:
        """The result, after all `scans`."""
        distances, rows, offsets = _empty_result(self._n_held.shape[1], self._top_k)
        candidates = (self._n_held, self._distances, self._rows)
        n_found = order(self._shards.n_bits, *candidates, distances, rows, offsets)
        return _neighbours(distances, rows, offsets, n_found, self._shards)


def _empty_result(
    n_queries: int, top_k: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64]]:
    """Distances, rows and offsets for `hashkit.kernels.selection.order`."""
    n_most = n_queries * top_k
    return np.empty(n_most, _UINT16), np.empty(n_most, _INT64), np.empty(n_queries + 1, _INT64)


def _neighbours(
    distances: NDArray[np.uint16],
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    n_found: int,
    shards: Shards,
) -> Neighbours:
    """What `hashkit.kernels.selection.order` found, ``n_found`` rows in all."""
    if n_found < len(rows):  # copied, so that the rest of the memory is freed
        distances, rows = distances[:n_found].copy(), rows[:n_found].copy()
    return Neighbours(offsets, distances, rows, shards.offsets)
