"""Codes and labels of rows and queries, compared in buffers that stay in the level-1 cache.

A tile's codes are stored as planes of bytes: the first byte of every code, then the second, and so
on. So the distances and grades of a query are vector loops.

A row's **grade** for a query is the number of labels they share. Labels come in one of two forms,
and the other form's arrays are empty: ``ids``, one label per row, equal or not; or ``words``, a set
of labels per row as bits of 64-bit words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import uint8, uint16, uint64
from numpy.typing import NDArray

from hashkit.kernels.bits import load_word, popcount
from hashkit.kernels.compiling import inner_kernel

__all__ = [
    "BUFFER_ROWS",
    "BYTE_PLANES",
    "Queries",
    "Rows",
    "fill_bytes",
    "fill_distances",
    "fill_grades",
    "load_planes",
]

BUFFER_ROWS = 2048
"""Rows in the buffers of distances and grades: those of one query fit the level-1 cache."""

BYTE_PLANES = 30
"""The most planes, an even number, whose count of differing bits, at most 240, fits a byte."""


class Rows(NamedTuple):
    """Rows of a database.

    Attributes
    ----------
    address
        uint64, address of packed codes uint8 [n_rows, size], contiguous.
    n_bytes
        Bytes that may be read from ``address`` on: at least 8, and at least those of the codes.
    n_rows, size
        Number of rows, and bytes per code.
    ids
        int32 [n_rows], or [0].
    words
        uint64 [w, n_rows] (planes); w is 0 where ``ids`` are used.
    """

    address: Any
    n_bytes: int
    n_rows: int
    size: int
    ids: NDArray[np.int32]
    words: NDArray[np.uint64]


class Queries(NamedTuple):
    """Queries that rows are compared with.

    Attributes
    ----------
    codes
        uint8 [q, size], or [q, size + 1] with a last column of zeros: an even number of columns.
    ids
        int32 [q], or [0].
    words
        uint64 [q, w]; w is 0 where ``ids`` are used.
    """

    codes: NDArray[np.uint8]
    ids: NDArray[np.int32]
    words: NDArray[np.uint64]


@inner_kernel
def load_planes(rows: Rows, first: int, n_rows: int, planes: NDArray[np.uint8]) -> None:
    """Write the codes of rows from ``first`` on as planes of bytes; other planes do not change."""
    # Eight planes at a time: the stores to more of them would evict each other from the cache.
    n_whole = rows.size // 8 * 8
    for plane in range(0, n_whole, 8):
        _load_up_to_eight(rows, first, n_rows, plane, 8, planes)
    if n_whole < rows.size:
        _load_up_to_eight(rows, first, n_rows, n_whole, rows.size - n_whole, planes)


@inner_kernel
def _load_up_to_eight(
    rows: Rows, first: int, n_rows: int, plane: int, n_planes: int, planes: NDArray[np.uint8]
) -> None:
    """Write ``n_planes`` planes from ``plane`` on, at most 8."""
    last_start = rows.n_bytes - 8
    for i in range(n_rows):
        start = (first + i) * rows.size + plane
        # The 8 bytes from here may end past the codes; then read the last 8 and shift them.
        shift = uint64(8 * max(0, start - last_start))
        word = load_word(rows.address + uint64(min(start, last_start))) >> shift
        for byte in range(n_planes):
            planes[plane + byte, i] = uint8(word)
            word >>= uint64(8)


@inner_kernel
def fill_bytes(
    planes: NDArray[np.uint8],
    query_bytes: NDArray[np.uint8],
    first: int,
    n_rows: int,
    first_plane: int,
    last_plane: int,
    counts: NDArray[np.uint8],
) -> None:
    """Count the differing bits in an even number of planes, at most 30."""
    for plane in range(first_plane, last_plane, 2):
        left, right = planes[plane, first:], planes[plane + 1, first:]
        left_byte, right_byte = query_bytes[plane], query_bytes[plane + 1]
        if plane == first_plane:
            for i in range(n_rows):
                counts[i] = popcount(uint8(left[i] ^ left_byte)) + popcount(
                    uint8(right[i] ^ right_byte)
                )
        else:
            for i in range(n_rows):
                counts[i] += popcount(uint8(left[i] ^ left_byte)) + popcount(
                    uint8(right[i] ^ right_byte)
                )


@inner_kernel
def fill_distances(
    planes: NDArray[np.uint8],
    query_bytes: NDArray[np.uint8],
    n_rows: int,
    counts: NDArray[np.uint8],
    distances: NDArray[np.uint32],
) -> None:
    """Distances of some rows, with ``counts``, uint8 of the same length, as a buffer."""
    n_planes = len(planes)
    for first_plane in range(0, n_planes, BYTE_PLANES):
        last_plane = min(first_plane + BYTE_PLANES, n_planes)
        fill_bytes(planes, query_bytes, 0, n_rows, first_plane, last_plane, counts)
        if first_plane == 0:
            for i in range(n_rows):
                distances[i] = counts[i]
        else:
            for i in range(n_rows):
                distances[i] += counts[i]


@inner_kernel
def fill_grades(
    query: int,
    queries: Queries,
    rows: Rows,
    first: int,
    n_rows: int,
    grades: NDArray[np.uint16],
) -> None:
    """Grades of ``n_rows`` rows from ``first`` on for a query."""
    if len(queries.ids):
        label = queries.ids[query]
        ids = rows.ids[first : first + n_rows]
        for i in range(n_rows):
            grades[i] = uint16(ids[i] == label)
        return
    grades[:n_rows] = uint16(0)
    for k in range(queries.words.shape[1]):
        wanted = queries.words[query, k]
        if wanted:  # most words of a large label set have no label of this query
            words = rows.words[k, first : first + n_rows]
            for i in range(n_rows):
                grades[i] += uint16(popcount(words[i] & wanted))
