"""Linear search in two passes: the rows at each distance are counted, then placed.

This is a counting sort, for results that are a large part of the database.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from hashkit.codes import code_size
from hashkit.kernels.ranking import count_distances, place_rows
from hashkit.kernels.words import row_words
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.scan_job import ScanJob, kernel_spans, slices
from hashkit.threads import run_parallel

__all__ = ["place"]


def place(job: ScanJob, n_threads: int) -> Neighbours:
    """The nearest rows of each query, in two passes."""
    query_codes, shards, top_k, radii = job
    words = row_words(query_codes)
    n_parts = 1 if len(words) >= n_threads else n_threads
    parts = slices(len(shards), n_parts)
    # Damaged codes may have padding bits set; the kernel counts them too.
    n_distances = 8 * code_size(shards.n_bits) + 1
    counts = np.zeros((len(words), n_parts, n_distances), np.int64)

    def count(query: int, part: int) -> None:
        for codes, _, kept in kernel_spans(shards, parts[part]):
            count_distances(codes, kept, words[query], counts[query, part])
        counts[query, part, radii[query] + 1 :] = 0

    _for_each(count, len(words), n_parts, n_threads)
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum(np.minimum(top_k, counts.sum(axis=(1, 2))), out=offsets[1:])
    distances, rows = np.empty(offsets[-1], np.uint16), np.empty(offsets[-1], np.int64)

    def place_part(query: int, part: int) -> None:
        entries = slice(offsets[query], offsets[query + 1])
        total = counts[query].sum(axis=0)
        # At each distance, a part's rows follow those of the parts before it.
        places = np.cumsum(total) - total + counts[query, :part].sum(axis=0)
        places[radii[query] + 1 :] = entries.stop - entries.start
        for codes, first, kept in kernel_spans(shards, parts[part]):
            place_rows(codes, first, kept, words[query], places, distances[entries], rows[entries])

    _for_each(place_part, len(words), n_parts, n_threads)
    return Neighbours(offsets, distances, rows, shards.offsets)


def _for_each(
    task: Callable[[int, int], None], n_queries: int, n_parts: int, n_threads: int
) -> None:
    """Run a task for every query and part, ``n_threads`` at a time."""
    pairs = [(query, part) for query in range(n_queries) for part in range(n_parts)]
    for start in range(0, len(pairs), n_threads):
        run_parallel([partial(task, *pair) for pair in pairs[start : start + n_threads]])
