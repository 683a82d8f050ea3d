"""Linear search for few queries: each query is compared with the rows as they lie in memory.

Memory-bound for one query on a large database; several queries are compared with blocks of rows
that stay in a cache. For many queries, see `sliced`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from hashkit.kernels.compiling import inlined, kernel
from hashkit.kernels.selection import Selection, order, take
from hashkit.kernels.vectors import (
    GATHERED_ROWS,
    ITERATION_ROWS,
    skip_far_gathered,
    skip_far_packed,
)
from hashkit.kernels.words import (
    chunk_distances,
    distance_to,
    last_mask,
    n_safe_rows,
    row_words,
)

__all__ = ["scan_rows", "select_rows"]

CHUNK_ROWS = 64
FIRST_CHUNK_ROWS = 16
"""Rows that are compared one by one once a row is near; few at first, because usually only one is,
then chunks of `CHUNK_ROWS` as long as several are."""

BLOCK_BYTES = 1 << 18
"""Bytes of rows that all queries are compared with at a time: half a level-2 cache."""


@kernel
def select_rows(
    codes: Any,
    first_row: int,
    kept: Any,
    query_codes: Any,
    n_bits: int,
    radii: Any,
    capacity: int,
    distances: Any,
    rows: Any,
    offsets: Any,
) -> int:
    """Search in one call, for databases so small that several calls would take longer.

    Returns the number of rows found for all queries.

    Parameters
    ----------
    codes, first_row, kept
        See `scan_rows`.
    query_codes
        uint8 [q, size].
    radii
        int64 [q], the largest distance wanted by each query.
    capacity
        Number of candidates to hold for each query: at least ``2 * k``.
    distances, rows, offsets
        uint16 [q * k], int64 [q * k] and int64 [q + 1], the result, as in
        `hashkit.kernels.selection.order`.
    """
    n_queries = query_codes.shape[0]
    top_k = rows.shape[0] // n_queries
    n_held = np.zeros((1, n_queries), np.int64)
    held_distances = np.empty((1, n_queries, capacity), np.uint16)
    held_rows = np.empty((1, n_queries, capacity), np.int64)
    state = Selection(
        np.zeros((n_queries, n_bits + 1), np.int64),
        np.minimum(radii, n_bits) + 1,
        np.zeros(n_queries, np.int64),
        n_held[0],
        held_distances[0],
        held_rows[0],
    )
    scan_rows(codes, first_row, kept, row_words(query_codes), top_k, state)
    return order(n_bits, n_held, held_distances, held_rows, distances, rows, offsets)


@kernel
def scan_rows(
    codes: Any,
    first_row: int,
    kept: Any,
    query_words: Any,
    top_k: int,
    state: Selection,
) -> None:
    """Update every query's selection with some rows.

    Parameters
    ----------
    codes
        uint8 [n, size], C-contiguous: the rows ``first_row`` to ``first_row + n``.
    kept
        bool [n], the rows to search; or bool [0] for all.
    query_words
        uint64 [q, n_words].
    top_k, state
        See `hashkit.kernels.selection`.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    mask = last_mask(size)
    base = uint64(codes.ctypes.data)
    iteration_rows = rows_per_iteration(size)
    near_rows = np.empty(CHUNK_ROWS, np.uint8)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    n_queries = query_words.shape[0]
    block_rows = n_rows if n_queries == 1 else BLOCK_BYTES // size + 1
    stop = 0
    while stop < n_rows:
        start, stop = stop, min(stop + block_rows, n_rows)
        n_safe_here = min(n_safe, stop)
        for query in range(n_queries):
            words = query_words[query]
            row = start
            while row < stop:
                address = base + uint64(row * size)
                n_iterations = max(0, n_safe_here - row) // iteration_rows
                row += iteration_rows * skip_far_rows(
                    address, n_iterations, size, mask, words, state.bounds[query]
                )
                n_near = 2
                chunk_rows = FIRST_CHUNK_ROWS
                while n_near > 1 and row < stop:  # compare in chunks while they hold near rows
                    n_chunk = min(chunk_rows, stop - row)
                    chunk_rows = CHUNK_ROWS
                    address = base + uint64(row * size)
                    if row + n_chunk <= n_safe:
                        chunk_distances(address, n_chunk, size, mask, words, chunk)
                    else:
                        for index in range(n_chunk):
                            own = address + uint64(index * size)
                            chunk[index] = distance_to(own, size, words)
                    bound = state.bounds[query]
                    n_near = indices_below(chunk, n_chunk, bound, near_rows)
                    for near in range(n_near):
                        index = near_rows[near]
                        distance = chunk[index]
                        is_kept = not kept.shape[0] or kept[row + index]
                        if distance < state.bounds[query] and is_kept:
                            take(query, distance, first_row + row + index, top_k, state)
                    row += n_chunk


@inlined
def indices_below(values: Any, n_values: int, bound: int, out: Any) -> int:
    """Write the indices of the values below ``bound`` to ``out``; returns their number.

    It has no branch that a CPU could mispredict: this is for bounds that many values pass.
    """
    n_below = 0
    for index in range(n_values):
        out[n_below] = index
        n_below += values[index] < bound
    return n_below


@inlined
def rows_per_iteration(size: int) -> int:
    """Rows of ``size`` bytes in an iteration of `skip_far_rows`."""
    return ITERATION_ROWS[size] if size < len(ITERATION_ROWS) else GATHERED_ROWS


@inlined
def skip_far_rows(
    address: int, n_iterations: int, size: int, mask: int, words: Any, bound: int
) -> int:
    """Number of iterations from ``address`` on before one with a distance below ``bound``."""
    query = uint64(words.ctypes.data)
    if size == 1:
        return skip_far_packed(address, n_iterations, query, bound, 1)
    if size == 2:
        return skip_far_packed(address, n_iterations, query, bound, 2)
    if size == 4:
        return skip_far_packed(address, n_iterations, query, bound, 4)
    if size == 8:
        return skip_far_packed(address, n_iterations, query, bound, 8)
    if size == 16:
        return skip_far_packed(address, n_iterations, query, bound, 16)
    if size == 32:
        return skip_far_packed(address, n_iterations, query, bound, 32)
    if size < 8:
        return skip_far_gathered(address, n_iterations, size, mask, query, 1, bound)
    return skip_far_gathered(address, n_iterations, size, mask, query, words.shape[0], bound)
