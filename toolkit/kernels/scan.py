"""Linear search for few queries: every row is read once and compared with one query after another.

Bound by memory for one query on a large database; for many queries, see `sliced`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from hashkit.kernels.compiling import inlined, kernel
from hashkit.kernels.selection import Selection, order, take
from hashkit.kernels.vectors import quiet_gathered, quiet_packed
from hashkit.kernels.words import (
    chunk_distances,
    distance_to,
    last_mask,
    n_safe_rows,
    row_words,
)

__all__ = ["scan_rows", "select_rows"]

CHUNK_ROWS = 64


@kernel
def select_rows(
    codes: Any,
    first_row: int,
    alive: Any,
    query_codes: Any,
    n_bits: int,
    reaches: Any,
    room: int,
    distances: Any,
    rows: Any,
    n_found: Any,
) -> int:
    """A whole search in one call, for databases so small that several calls would take longer.

    Parameters
    ----------
    codes, first_row, alive
        See `scan_rows`.
    query_codes
        uint8 [q, size].
    reaches
        int64 [q], the largest distances wanted.
    room
        Candidates to hold for each query: at least ``2 * k``.
    distances, rows, n_found
        uint16 [q, k], int64 [q, k] and int64 [q]: the answer, as
        `hashkit.kernels.selection.order` gives it; so is what is returned.
    """
    n_queries, top_k = rows.shape
    n_held = np.zeros((1, n_queries), np.int64)
    held_distances = np.empty((1, n_queries, room), np.uint16)
    held_rows = np.empty((1, n_queries, room), np.int64)
    state = Selection(
        np.zeros((n_queries, n_bits + 1), np.int64),
        np.minimum(reaches, n_bits) + 1,
        np.zeros(n_queries, np.int64),
        n_held[0],
        held_distances[0],
        held_rows[0],
    )
    scan_rows(codes, first_row, alive, row_words(query_codes), top_k, state)
    return order(n_bits, n_held, held_distances, held_rows, distances, rows, n_found)


@kernel
def scan_rows(
    codes: Any,
    first_row: int,
    alive: Any,
    query_words: Any,
    top_k: int,
    state: Selection,
) -> None:
    """Let rows go by for every query.

    Parameters
    ----------
    codes
        uint8 [n, size], C-contiguous: the rows ``first_row`` to ``first_row + n``.
    alive
        bool [n], the rows that may be taken; or bool [0] for all.
    query_words
        uint64 [q, n_words].
    top_k, state
        See `hashkit.kernels.selection`.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    mask = last_mask(size)
    base = uint64(codes.ctypes.data)
    turn_rows = 64 // size if size in (1, 2, 4, 8) else 4 if size in (16, 32) else 8
    near_rows = np.empty(CHUNK_ROWS, np.uint8)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    for query in range(query_words.shape[0]):
        words = query_words[query]
        row = 0
        while row < n_rows:
            address = base + uint64(row * size)
            n_turns = max(0, n_safe - row) // turn_rows
            row += turn_rows * quiet_turns(address, n_turns, size, mask, words, state.bounds[query])
            n_near = 2
            while n_near > 1 and row < n_rows:  # go on in chunks while they yield something
                n_chunk = min(CHUNK_ROWS, n_rows - row)
                if row + n_chunk <= n_safe:
                    chunk_distances(base + uint64(row * size), n_chunk, size, mask, words, chunk)
                else:
                    for index in range(n_chunk):
                        chunk[index] = distance_to(base + uint64((row + index) * size), size, words)
                n_near = indices_below(chunk, n_chunk, state.bounds[query], near_rows)
                for near in range(n_near):
                    index = near_rows[near]
                    distance = chunk[index]
                    if distance < state.bounds[query] and (
                        not alive.shape[0] or alive[row + index]
                    ):
                        take(query, distance, first_row + row + index, top_k, state)
                row += n_chunk


@inlined
def indices_below(values: Any, n_values: int, bound: int, out: Any) -> int:
    """Write where the values are below ``bound`` into ``out``; returns how many are.

    There is no branch for a processor to guess wrong: this is for bounds that many values pass.
    """
    n_below = 0
    for index in range(n_values):
        out[n_below] = index
        n_below += values[index] < bound
    return n_below


@inlined
def quiet_turns(address: int, n_turns: int, size: int, mask: int, words: Any, bound: int) -> int:
    """How many turns of rows from ``address`` on hold none below ``bound``, until one does."""
    query = uint64(words.ctypes.data)
    if size == 1:
        return quiet_packed(address, n_turns, query, bound, 1)
    if size == 2:
        return quiet_packed(address, n_turns, query, bound, 2)
    if size == 4:
        return quiet_packed(address, n_turns, query, bound, 4)
    if size == 8:
        return quiet_packed(address, n_turns, query, bound, 8)
    if size == 16:
        return quiet_packed(address, n_turns, query, bound, 16)
    if size == 32:
        return quiet_packed(address, n_turns, query, bound, 32)
    if size < 8:
        return quiet_gathered(address, n_turns, size, mask, query, 1, bound)
    return quiet_gathered(address, n_turns, size, mask, query, words.shape[0], bound)
