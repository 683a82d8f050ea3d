"""Linear search with compiled kernels, on any number of threads.

All kernels give the same result. For few queries, rows are compared as they lie in memory
(`hashkit.kernels.scan`). For several queries, blocks of rows are transposed into bit planes once
for all queries (`hashkit.kernels.sliced`), or their words are counted in vectors
(`hashkit.kernels.counts`), whichever is faster (`hashkit.kernels.choice`). For results that are a
large part of the database, a counting sort takes two passes (`hashkit.kernels.ranking`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.kernels.arrays import read_only
from hashkit.kernels.choice import COUNTS, PLANES, ROWS, batch_kernel, batch_kernels
from hashkit.kernels.counts import block_words, quad_words, scan_counts
from hashkit.kernels.ranking import count_distances, place_rows
from hashkit.kernels.scan import scan_rows, select_rows
from hashkit.kernels.selection import Selection, order
from hashkit.kernels.sliced import plane_bytes, plane_scanner, query_picks
from hashkit.kernels.widths import MAX_PLANE_BITS
from hashkit.kernels.words import row_words
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.sampling import planned
from hashkit.retrieval.shards import Shards, Span
from hashkit.threads import available_cpus, run_parallel

__all__ = ["run_each_kernel", "scan_compiled"]

_SEVERAL: Final = 3
"""Queries that are searched together from this many on."""

_TRANSPOSED_FOR: Final = 64
"""Queries per thread from which the cost of transposing rows is small."""

_SHALLOW: Final = 256
"""Rows per wanted row, above which it costs little that each part selects its own nearest rows."""

_PARALLEL_BYTES: Final = 1 << 21
"""Bytes of codes, counted once per query, that are worth another thread: 0.1 ms."""

_PAIRS_PER_CALL: Final = 1 << 29
"""Rows times queries per call of a kernel: Ctrl-C takes effect after about a second."""

_CANDIDATE_BYTES: Final = 1 << 27
"""Memory for candidates, in bytes; if they need more, queries are searched in groups."""

_PLACED_SHARE: Final = 32
"""Results of at least one row in this many are placed in two passes instead of selected."""

_FIRST_CAPACITY: Final = 4096
"""Capacity per query for rows within a radius, before their number is known."""

_FEW_ROWS: Final = 64
"""Rows of the searches that only load kernels."""

_ALL_KEPT: Final = read_only(np.empty(0, dtype=np.bool_))


class _Job(NamedTuple):
    """The arguments of `scan_compiled`."""

    query_codes: NDArray[np.uint8]
    shards: Shards
    top_k: int
    radii: NDArray[np.int64]

    def of(self, queries: slice | NDArray[np.intp]) -> _Job:
        """The same job for some of the queries."""
        codes = read_only(self.query_codes[queries])
        return self._replace(query_codes=codes, radii=self.radii[queries])


def scan_compiled(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    top_k: int,
    radii: NDArray[np.int64],
    n_threads: int | None = None,
) -> Neighbours:
    """Find the ``top_k`` nearest rows within each query's radius.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, size], C-contiguous.
    shards
        The database.
    top_k
        Rows wanted, 1 or more; the number of kept rows or more for all rows within the radius.
    radii
        int64 [q], the largest distance wanted by each query.
    n_threads
        Number of threads, 1 or more; None for one per CPU.
    """
    job = _Job(read_only(query_codes), shards, top_k, radii)
    n_rows = shards.n_rows
    n_worth = 1 + query_codes.size * n_rows // _PARALLEL_BYTES
    n_threads = 1 if n_worth == 1 else min(n_threads or available_cpus(), n_worth)
    if top_k * _PLACED_SHARE < n_rows:
        return _select_guessed(job, n_threads)
    if top_k < n_rows or int(radii.max()) >= shards.n_bits:
        return _place(job, n_threads)
    # All rows within a radius are mostly few: select up to `capacity` in one pass, then search
    # again for the queries with more.
    capacity = min(n_rows, _FIRST_CAPACITY)
    found = _select(job._replace(top_k=capacity), n_threads)
    again = np.flatnonzero(np.diff(found.offsets) == capacity)
    if not len(again) or capacity == n_rows:
        return found
    return found.replaced(again, _place(job.of(again), n_threads))


def run_each_kernel(n_bits: int, kernels: Collection[str] | None = None) -> Iterator[None]:
    """Run every kernel that a search of codes of ``n_bits`` bits may use, and yield after each.

    Each is loaded or compiled by that, for all searches that follow.

    Parameters
    ----------
    kernels
        Those of `hashkit.kernels.choice` to run; by default those that this CPU may use.
    """
    n_bits = min(n_bits, MAX_PLANE_BITS)  # longer codes use a part of the same kernels
    codes = np.zeros((_FEW_ROWS, code_size(n_bits)), np.uint8)
    one, two = Shards([codes], n_bits, [None]), Shards([codes, codes], n_bits, [None, None])

    def job(n_queries: int, shards: Shards, top_k: int) -> _Job:
        return _Job(read_only(codes[:n_queries]), shards, top_k, np.full(n_queries, n_bits))

    searches: list[Callable[[], object]] = [
        partial(_select_at_once, job(1, one, 1), 1),
        partial(_select_at_once, job(1, one, 1), 2),
        partial(_place, job(1, one, _FEW_ROWS), 1),
    ]
    for kernel in sorted(kernels or {ROWS, *batch_kernels()}):
        searches.append(_Selection(job(_SEVERAL, two, 1), 1, kernel).run)
    for search in searches:
        search()
        yield


def _select_guessed(job: _Job, n_threads: int) -> Neighbours:
    """As `_select`; if k is large, within radii that are guessed from a sample of the rows.

    Queries for which the guess was too small are searched again.
    """
    sample = planned(job.top_k, job.shards.n_kept)
    if (
        sample is None
        or len(job.query_codes) < _SEVERAL
        or int(job.radii.max()) < job.shards.n_bits
    ):
        return _select(job, n_threads)
    first = job._replace(shards=sample.of(job.shards), top_k=sample.top_k)
    guessed = job._replace(radii=sample.reached(_select(first, n_threads), job.radii))
    found = _select(guessed, n_threads)
    again = np.flatnonzero((np.diff(found.offsets) < job.top_k) & (guessed.radii < job.radii))
    if not len(again):
        return found
    return found.replaced(again, _select(job.of(again), n_threads))


def _select(job: _Job, n_threads: int) -> Neighbours:
    n_queries, n_rows = len(job.query_codes), job.shards.n_rows
    is_short = n_queries * n_rows <= _PAIRS_PER_CALL
    if n_queries < _SEVERAL and len(job.shards.codes) == 1 and is_short:
        return _select_at_once(job, n_threads)
    # Threads with separate rows share the cost of transposing, but each must find its own nearest
    # rows. So threads take separate queries if there are many queries or k is large.
    is_shallow = job.top_k * _SHALLOW < n_rows
    n_own = _TRANSPOSED_FOR if is_shallow else 2 * _SEVERAL
    n_query_parts = min(n_threads, max(1, n_queries // n_own))
    n_row_parts = n_threads // n_query_parts
    candidates = n_queries * n_row_parts * _capacity(job.top_k) * 10
    n_groups = -(-candidates // _CANDIDATE_BYTES)
    found: list[Neighbours] = []
    for group in _slices(n_queries, n_groups):
        own = _slices(group.stop - group.start, n_query_parts, group.start)
        selections = [
            _Selection(job.of(part), n_row_parts) for part in own if part.stop > part.start
        ]
        if n_row_parts == 1:
            found += run_parallel([one.run for one in selections])
        else:
            run_parallel([scan for one in selections for scan in one.scans()])
            found += [one.found() for one in selections]
    return Neighbours.joined(found)


def _select_at_once(job: _Job, n_parts: int) -> Neighbours:
    """Do the same as `_Selection`, in one call for each part of a single database.

    Scanning a small database takes less time than a few of the cheapest NumPy calls.
    """
    shards = job.shards
    if n_parts == 1:
        return _compact(*_select_span(job, 0, shards.codes[0], shards.kept[0]), shards)
    spans = shards.spans(rows=-(-shards.n_rows // n_parts))
    found = run_parallel([partial(_select_span, job, *span) for span in spans])
    distances, rows, sizes = (np.stack([one[at] for one in found]) for at in range(3))
    merged = np.empty_like(distances[0]), np.empty_like(rows[0]), np.empty_like(sizes[0])
    n_found = order(shards.n_bits, sizes, distances, rows, *merged)
    return _compact(*merged, n_found, shards)


def _select_span(
    job: _Job, first: int, codes: NDArray[np.uint8], kept: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint16], NDArray[np.int64], NDArray[np.int64], int]:
    """The nearest of some rows: their distances, rows and numbers by query, and how many in all."""
    query_codes, shards, top_k, radii = job
    shape = (len(query_codes), top_k)
    distances, rows = np.empty(shape, np.uint16), np.empty(shape, np.int64)
    sizes = np.empty(shape[0], np.int64)
    n_found = select_rows(
        read_only(codes),
        first,
        _ALL_KEPT if kept is None else read_only(kept),
        query_codes,
        shards.n_bits,
        radii,
        _capacity(top_k),
        distances,
        rows,
        sizes,
    )
    return distances, rows, sizes, n_found


def _capacity(top_k: int) -> int:
    return 2 * top_k + 64


class _Selection:
    """The nearest rows of some queries, selected in one pass over the database.

    Parameters
    ----------
    job
        The queries and the database.
    n_parts
        Parts of the database that are scanned in parallel.
    kernel
        See `hashkit.kernels.choice`; by default the fastest.
    """

    def __init__(self, job: _Job, n_parts: int, kernel: str | None = None) -> None:
        query_codes, shards, top_k, radii = job
        self._shards = shards
        self._top_k = top_k
        self._parts = _slices(len(shards), n_parts)
        n_queries = len(query_codes)
        self._counts = np.zeros((n_parts, n_queries, shards.n_bits + 1), dtype=np.int64)
        self._bounds = np.empty((n_parts, n_queries), dtype=np.int64)
        self._bounds[:] = np.minimum(radii, shards.n_bits) + 1
        self._n_below = np.zeros((n_parts, n_queries), dtype=np.int64)
        self._n_held = np.zeros((n_parts, n_queries), dtype=np.int64)
        self._distances = np.empty((n_parts, n_queries, _capacity(top_k)), dtype=np.uint16)
        self._rows = np.empty((n_parts, n_queries, _capacity(top_k)), dtype=np.int64)
        self._kernel = kernel or (
            batch_kernel(n_queries, shards.n_bits) if n_queries >= _SEVERAL else ROWS
        )
        # The queries in the forms that the kernel takes.
        words = row_words(query_codes)
        self._queries: tuple[NDArray[Any], ...] = (words,)
        if self._kernel == PLANES:
            self._queries = (words, query_picks(query_codes))
        elif self._kernel == COUNTS:
            self._queries = (quad_words(words),)
        self._size = query_codes.shape[1]
        self._is_stopped = threading.Event()

    def run(self) -> Neighbours:
        """Search in one thread, and return the result."""
        for scan in self.scans():
            scan()
        return self.found()

    def scans(self) -> list[Callable[[], None]]:
        """Tasks to run, possibly in parallel, before `found`."""
        return [partial(self._scan, part) for part in range(len(self._parts))]

    def _scan(self, part: int) -> None:
        rows = self._parts[part]
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
        rows_per_call = max(1, _PAIRS_PER_CALL // len(self._n_held[part]))
        try:
            for span in self._shards.spans(rows.start, rows.stop, rows_per_call):
                if self._is_stopped.is_set():
                    return
                codes, kept = _for_kernels(span)
                scan(codes, span.first, kept, *compared, self._top_k, state)
        except BaseException:
            self._is_stopped.set()  # Ctrl-C arrives in one thread; this stops the others
            raise

    def found(self) -> Neighbours:
        """The result, after all `scans`."""
        shape = (self._n_held.shape[1], self._top_k)
        distances, rows = np.empty(shape, np.uint16), np.empty(shape, np.int64)
        sizes = np.empty(len(distances), np.int64)
        candidates = (self._n_held, self._distances, self._rows)
        n_found = order(self._shards.n_bits, *candidates, distances, rows, sizes)
        return _compact(distances, rows, sizes, n_found, self._shards)


def _place(job: _Job, n_threads: int) -> Neighbours:
    """Search in two passes per query: count the rows at each distance, then place them."""
    words = row_words(job.query_codes)
    n_parts = 1 if len(words) >= n_threads else n_threads
    tasks = [
        partial(_place_query, words[query], radius, job.shards, job.top_k, n_parts)
        for query, radius in enumerate(job.radii.tolist())
    ]
    if n_parts > 1:
        found = [task() for task in tasks]
    else:
        found = []
        for start in range(0, len(tasks), n_threads):
            found += run_parallel(tasks[start : start + n_threads])
    return Neighbours.of_queries(found, job.shards.offsets)


def _place_query(
    words: NDArray[np.uint64], radius: int, shards: Shards, top_k: int, n_parts: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    parts = _slices(len(shards), n_parts)
    # Damaged codes may have bits set behind the last one; the kernel counts them too.
    n_distances = 8 * code_size(shards.n_bits) + 1
    counts = np.zeros((n_parts, n_distances), dtype=np.int64)

    def count(part: int) -> None:
        for span in shards.spans(parts[part].start, parts[part].stop, _PAIRS_PER_CALL):
            codes, kept = _for_kernels(span)
            count_distances(codes, kept, words, counts[part])

    _for_each(count, n_parts)
    counts[:, radius + 1 :] = 0
    total = counts.sum(axis=0)
    n_found = min(top_k, int(total.sum()))
    # At each distance, a part's rows follow those of the parts before it.
    places = np.cumsum(total) - total + np.cumsum(counts, axis=0) - counts
    places[:, radius + 1 :] = n_found
    distances, rows = np.empty(n_found, np.uint16), np.empty(n_found, np.int64)

    def place(part: int) -> None:
        for span in shards.spans(parts[part].start, parts[part].stop, _PAIRS_PER_CALL):
            codes, kept = _for_kernels(span)
            place_rows(codes, span.first, kept, words, places[part], distances, rows)

    _for_each(place, n_parts)
    return distances, rows


def _for_each(task: Callable[[int], None], n_parts: int) -> None:
    if n_parts == 1:
        task(0)
    else:
        run_parallel([partial(task, part) for part in range(n_parts)])


def _for_kernels(span: Span) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Codes, and the mask of the rows to search: empty for all."""
    return read_only(span.codes), _ALL_KEPT if span.kept is None else read_only(span.kept)


def _slices(length: int, n_parts: int, start: int = 0) -> list[slice]:
    """``n_parts`` consecutive slices of about equal length, from ``start`` on."""
    ends = [start + length * part // n_parts for part in range(n_parts + 1)]
    return [slice(first, stop) for first, stop in itertools.pairwise(ends)]


def _compact(
    distances: NDArray[np.uint16],
    rows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    n_found: int,
    shards: Shards,
) -> Neighbours:
    """Join the first ``sizes[i]`` entries of each query i, ``n_found`` in total."""
    if n_found == distances.size:
        offsets = np.arange(0, n_found + 1, distances.shape[1])
        return Neighbours(offsets, distances.ravel(), rows.ravel(), shards.offsets)
    return Neighbours.of_table(distances, rows, sizes, shards.offsets)
