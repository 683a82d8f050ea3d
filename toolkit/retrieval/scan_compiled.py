"""Linear search with compiled kernels, on any number of threads.

All kernels give the same result. For few queries, rows are compared as they lie in memory
(`hashkit.kernels.scan`). For several queries, blocks of rows are transposed into bit planes once
for all queries (`hashkit.kernels.sliced`), or their words are counted in vectors
(`hashkit.kernels.counts`), whichever is faster (`hashkit.kernels.choice`). For results that are a
large part of the database, a counting sort takes two passes (`hashkit.kernels.ranking`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.kernels.arrays import read_only
from hashkit.kernels.choice import SEVERAL, batch_time, scan_kernels
from hashkit.kernels.widths import MAX_PLANE_BITS
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.placing import place
from hashkit.retrieval.sampling import planned
from hashkit.retrieval.scan_job import ScanJob
from hashkit.retrieval.selecting import BatchSelection, select, select_at_once
from hashkit.retrieval.shards import Shards
from hashkit.threads import available_cpus

__all__ = ["run_each_kernel", "scan_compiled"]

_PARALLEL_TIME: Final = 400_000
"""Nanoseconds of work in one thread from which another is worthwhile: the other begins 60,000 ns
later, and ends later if the two wait for Python's lock."""

_PARALLEL_BYTES: Final = 1 << 22
"""The same amount of work for few queries, in bytes of codes read from memory, counted once per
query."""

_PLACED_SHARE: Final = 32
"""Results with at least one row in this many are placed in two passes instead of selected."""

_FIRST_CAPACITY: Final = 4096
"""Capacity per query for rows within a radius, before their number is known."""

_FEW_ROWS: Final = 64
"""Rows in the searches that only load kernels."""


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
    query_codes, n_rows = read_only(query_codes), shards.n_rows
    is_selected = top_k * _PLACED_SHARE < n_rows
    is_small = len(query_codes) < SEVERAL and query_codes.size * n_rows < _PARALLEL_BYTES
    if is_selected and is_small and len(shards.codes) == 1:
        return select_at_once(query_codes, shards, top_k, radii)  # a sixth of the overhead
    job = ScanJob(query_codes, shards, top_k, radii)
    if is_selected:
        return _select_guessed(job, n_threads)
    n_threads = _worthwhile(job, n_threads)
    if top_k < n_rows or int(radii.max()) >= shards.n_bits:
        return place(job, n_threads)
    # There are usually few rows within a radius: select up to `capacity` in one pass, then search
    # again for the queries with more.
    capacity = min(n_rows, _FIRST_CAPACITY)
    found = select(job._replace(top_k=capacity), n_threads)
    again = np.flatnonzero(np.diff(found.offsets) == capacity)
    if not len(again) or capacity == n_rows:
        return found
    return found.replaced(again, place(job.of(again), n_threads))


def run_each_kernel(n_bits: int, kernels: Collection[str] | None = None) -> Iterator[None]:
    """Run every kernel that a search of codes of ``n_bits`` bits may use, and yield after each.

    This loads or compiles each kernel for all later searches.

    Parameters
    ----------
    kernels
        Kernels of `hashkit.kernels.widths` to run; by default those that this CPU may use.
    """
    n_bits = min(n_bits, MAX_PLANE_BITS)  # longer codes use some of the same kernels
    codes = np.zeros((_FEW_ROWS, code_size(n_bits)), np.uint8)
    one, two = Shards([codes], n_bits, [None]), Shards([codes, codes], n_bits, [None, None])

    def job(n_queries: int, shards: Shards, top_k: int) -> ScanJob:
        return ScanJob(read_only(codes[:n_queries]), shards, top_k, np.full(n_queries, n_bits))

    searches: list[Callable[[], object]] = [
        partial(select_at_once, *job(1, one, 1)),
        partial(place, job(1, one, _FEW_ROWS), 1),
    ]
    for kernel in sorted(kernels or scan_kernels(n_bits)):
        searches.append(BatchSelection(job(SEVERAL, two, 1), 1, kernel).run)
    for search in searches:
        search()
        yield


def _worthwhile(job: ScanJob, n_threads: int | None) -> int:
    """The number of threads that is wanted, or fewer if there is little to do."""
    query_codes, shards = job.query_codes, job.shards
    if len(query_codes) < SEVERAL:
        n_worth = 1 + query_codes.size * shards.n_rows // _PARALLEL_BYTES
    else:
        per_row = batch_time(len(query_codes), shards.n_bits, job.top_k / shards.n_rows)
        n_worth = 1 + int(per_row * shards.n_rows) // _PARALLEL_TIME
    return 1 if n_worth == 1 else min(n_threads or available_cpus(), n_worth)


def _select_guessed(job: ScanJob, n_threads: int | None) -> Neighbours:
    """Like `select`, but if k is large, within radii that are guessed from a sample of the rows.

    Queries for which the guess was too small are searched again.
    """
    sample = planned(job.top_k, job.shards.n_kept) if len(job.query_codes) >= SEVERAL else None
    if sample is None or int(job.radii.max()) < job.shards.n_bits:
        return select(job, _worthwhile(job, n_threads))
    first = job._replace(shards=sample.of(job.shards), top_k=sample.top_k)
    near = select(first, _worthwhile(first, n_threads))
    guessed = job._replace(radii=sample.reached(near, job.radii))
    found = select(guessed, _worthwhile(job, n_threads))
    again = np.flatnonzero((np.diff(found.offsets) < job.top_k) & (guessed.radii < job.radii))
    if not len(again):
        return found
    rest = job.of(again)
    return found.replaced(again, select(rest, _worthwhile(rest, n_threads)))
