"""Linear search in two passes: the rows at each distance are counted, then placed.

This is a counting sort, for results that are a large part of the database.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.kernels.ranking import count_distances, place_rows
from hashkit.kernels.words import row_words
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.scan_job import ScanJob, kernel_spans, slices
from hashkit.retrieval.shards import Shards
from hashkit.threads import run_parallel

__all__ = ["place"]


def place(job: ScanJob, n_threads: int) -> Neighbours:
    """The nearest rows of each query, in two passes for each."""
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
    parts = slices(len(shards), n_parts)
    # Damaged codes may have bits set behind the last one; the kernel counts them too.
    n_distances = 8 * code_size(shards.n_bits) + 1
    counts = np.zeros((n_parts, n_distances), dtype=np.int64)

    def count_part(part: int) -> None:
        for codes, _, kept in kernel_spans(shards, parts[part]):
            count_distances(codes, kept, words, counts[part])

    _for_each(count_part, n_parts)
    counts[:, radius + 1 :] = 0
    total = counts.sum(axis=0)
    n_found = min(top_k, int(total.sum()))
    # At each distance, a part's rows follow those of the parts before it.
    places = np.cumsum(total) - total + np.cumsum(counts, axis=0) - counts
    places[:, radius + 1 :] = n_found
    distances, rows = np.empty(n_found, np.uint16), np.empty(n_found, np.int64)

    def place_part(part: int) -> None:
        for codes, first, kept in kernel_spans(shards, parts[part]):
            place_rows(codes, first, kept, words, places[part], distances, rows)

    _for_each(place_part, n_parts)
    return distances, rows


def _for_each(task: Callable[[int], None], n_parts: int) -> None:
    if n_parts == 1:
        task(0)
    else:
        run_parallel([partial(task, part) for part in range(n_parts)])
