"""Whole rankings: every row up to some distance put straight into its place, by counting.

The first pass counts the rows at each distance, so that it is known where each distance's rows
begin; the second puts rows there in the order in which they come. Nothing is sorted, and nothing
held but the result: for answers that are a good part of the database.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from hashkit.kernels.compiling import kernel
from hashkit.kernels.words import chunk_distances, distance_to, last_mask, n_safe_rows

__all__ = ["count_distances", "place_rows"]

CHUNK_ROWS = 256


@kernel
def count_distances(codes: Any, alive: Any, words: Any, counts: Any) -> None:
    """Count the rows at each distance from a query.

    Parameters
    ----------
    codes
        uint8 [n, size], C-contiguous.
    alive
        bool [n], the rows that count; or bool [0] for all.
    words
        uint64 [n_words], the query.
    counts
        int64 [n_bits + 1], added to.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    for row in range(0, n_rows, CHUNK_ROWS):
        n_chunk = min(CHUNK_ROWS, n_rows - row)
        _distances(codes, row, n_chunk, n_safe, words, chunk)
        for index in range(n_chunk):
            if alive.shape[0] == 0 or alive[row + index]:
                counts[chunk[index]] += 1


@kernel
def place_rows(
    codes: Any, first_row: int, alive: Any, words: Any, places: Any, distances: Any, rows: Any
) -> None:
    """Put rows into their places in the ranking of a query.

    Parameters
    ----------
    codes, alive, words
        As in `count_distances`; the first row of ``codes`` is row ``first_row``.
    places
        int64 [n_bits + 1], the place of the next row at each distance; moved on.
    distances, rows
        uint16 [m] and int64 [m], the ranking; rows whose place is beyond it are left out.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    for row in range(0, n_rows, CHUNK_ROWS):
        n_chunk = min(CHUNK_ROWS, n_rows - row)
        _distances(codes, row, n_chunk, n_safe, words, chunk)
        for index in range(n_chunk):
            place = places[chunk[index]]
            if place < rows.shape[0] and (alive.shape[0] == 0 or alive[row + index]):
                distances[place] = chunk[index]
                rows[place] = first_row + row + index
                places[chunk[index]] = place + 1


@kernel
def _distances(codes: Any, row: int, n_chunk: int, n_safe: int, words: Any, chunk: Any) -> None:
    size = codes.shape[1]
    address = uint64(codes.ctypes.data) + uint64(row * size)
    if row + n_chunk <= n_safe:
        chunk_distances(address, n_chunk, size, last_mask(size), words, chunk)
    else:
        for index in range(n_chunk):
            chunk[index] = distance_to(address + uint64(index * size), size, words)
