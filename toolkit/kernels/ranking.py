"""Long rankings by counting sort: every row up to some distance goes straight to its place.

The first pass counts the rows at each distance, which gives where the rows of each distance begin.
The second pass puts the rows there, in row order. Nothing is sorted, and only the result is held in
memory. This is for results that are a large part of the database.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.words import chunk_distances, distance_to, last_mask, n_safe_rows

__all__ = ["count_distances", "place_rows"]

CHUNK_ROWS = 256


@kernel
def count_distances(codes: Any, kept: Any, words: Any, counts: Any) -> None:
    """Count the rows at each distance from a query.

    Parameters
    ----------
    codes
        uint8 [n, size], C-contiguous.
    kept
        bool [n], the rows to search; or bool [0] for all.
    words
        uint64 [n_words], the query.
    counts
        int64 [n_bits + 1], modified.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    for row in range(0, n_rows, CHUNK_ROWS):
        n_chunk = min(CHUNK_ROWS, n_rows - row)
        _distances(codes, row, n_chunk, n_safe, words, chunk)
        for index in range(n_chunk):
            if kept.shape[0] == 0 or kept[row + index]:
                counts[chunk[index]] += 1


@kernel
def place_rows(
    codes: Any, first_row: int, kept: Any, words: Any, places: Any, distances: Any, rows: Any
) -> None:
    """Write rows to their places in the ranking of a query.

    Parameters
    ----------
    codes, kept, words
        As in `count_distances`; the first row of ``codes`` is row ``first_row``.
    places
        int64 [n_bits + 1], the place of the next row at each distance; modified.
    distances, rows
        uint16 [m] and int64 [m], the ranking; rows with a place beyond its end are left out.
    """
    n_rows, size = codes.shape
    n_safe = n_safe_rows(n_rows, size)
    chunk = np.empty(CHUNK_ROWS, np.uint16)
    for row in range(0, n_rows, CHUNK_ROWS):
        n_chunk = min(CHUNK_ROWS, n_rows - row)
        _distances(codes, row, n_chunk, n_safe, words, chunk)
        for index in range(n_chunk):
            place = places[chunk[index]]
            if place < rows.shape[0] and (kept.shape[0] == 0 or kept[row + index]):
                distances[place] = chunk[index]
                rows[place] = first_row + row + index
                places[chunk[index]] = place + 1


@inner_kernel
def _distances(codes: Any, row: int, n_chunk: int, n_safe: int, words: Any, chunk: Any) -> None:
    size = codes.shape[1]
    address = uint64(codes.ctypes.data) + uint64(row * size)
    if row + n_chunk <= n_safe:
        chunk_distances(address, n_chunk, size, last_mask(size), words, chunk)
    else:
        for index in range(n_chunk):
            chunk[index] = distance_to(address + uint64(index * size), size, words)
