"""Joint histograms of distance and grade over packed codes.

The rows are processed in tiles that stay in cache while every query is compared with them. Only
counting, the last step, goes row by row with one store each. Where the table is small enough, two
queries share it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint8, uint16, uint32, uint64
from numpy.typing import NDArray

from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.labelled_rows import (
    BUFFER_ROWS,
    Queries,
    Rows,
    fill_bytes,
    fill_distances,
    fill_grades,
    load_planes,
)

__all__ = ["add_histograms"]

# Rows of a tile where two queries share a table. The table is emptied once per tile, which costs a
# twentieth of the counting; the planes of 48-bit codes take 192 KiB.
_PAIRED_TILE_ROWS = 32_768

# Maximum cells of the table that two queries share: 128 KiB, only part of which is touched.
_MOST_PAIRED_CELLS = 2**15

# Stands for any label that no query has, where labels are compared as bytes.
_NO_BYTE_ID = 255


@inner_kernel
def _add_grades(
    grades: NDArray[np.uint16], n_rows: int, n_distances: Any, keys: NDArray[np.uint32]
) -> None:
    """Combine grade and distance into one number: 20% faster to count than two indices."""
    for i in range(n_rows):
        keys[i] += grades[i] * n_distances


@inner_kernel
def _add_grades_to_bytes(
    grades: NDArray[np.uint16], n_rows: int, n_distances: Any, keys: NDArray[np.uint8]
) -> None:
    # As `_add_grades`, with 16-bit arithmetic: default integers take four times as long.
    for i in range(n_rows):
        keys[i] = uint8(uint16(keys[i]) + uint16(grades[i] * n_distances))


@inner_kernel
def _add_where_equal(
    ids: NDArray[np.uint8], label: Any, n_distances: Any, keys: NDArray[np.uint8]
) -> None:
    for i in range(len(ids)):
        keys[i] = uint8(keys[i] + (n_distances if ids[i] == label else uint8(0)))


@inner_kernel
def _count_pairs(
    left: NDArray[np.uint8],
    right: NDArray[np.uint8],
    n_rows: int,
    n_cells: Any,
    both: NDArray[np.uint16],
    table: NDArray[np.uint32],
) -> None:
    for i in range(n_rows):
        both[i] = uint16(left[i]) * n_cells + uint16(right[i])
    for i in range(n_rows):
        table[uint64(both[i])] += uint32(1)


@inner_kernel
def _empty_table(
    table: NDArray[np.uint32], left: NDArray[np.int64], right: NDArray[np.int64]
) -> None:
    """Add the table's row sums to ``left`` and its column sums to ``right``, and clear it."""
    n_cells = len(left)
    for cell in range(n_cells):
        counts = table[cell * n_cells : (cell + 1) * n_cells]
        total = uint32(0)
        for i in range(n_cells):
            total += counts[i]
        if total:
            left[cell] += total
            for i in range(n_cells):
                right[i] += counts[i]
                counts[i] = 0


@inner_kernel
def _count_in_pairs(
    rows: Rows,
    queries: Queries,
    histograms: NDArray[np.int64],
    n_paired: int,
) -> None:
    """Histograms of the first ``n_paired`` queries, two at a time."""
    n_planes = queries.codes.shape[1]
    n_distances = histograms.shape[2]
    n_cells = histograms.shape[1] * n_distances
    planes = np.zeros((n_planes, _PAIRED_TILE_ROWS), np.uint8)
    keys = np.empty((2, BUFFER_ROWS), np.uint8)
    grades = np.empty(BUFFER_ROWS, np.uint16)
    both = np.empty(BUFFER_ROWS, np.uint16)
    table = np.zeros(n_cells * n_cells, np.uint32)
    # Labels that fit a byte, such as those of a hundred classes, are compared four times as fast.
    has_byte_ids = len(queries.ids) > 0
    for query in range(len(queries.ids)):
        has_byte_ids &= queries.ids[query] < _NO_BYTE_ID
    byte_ids = np.empty(_PAIRED_TILE_ROWS, np.uint8)
    for tile in range(0, rows.n_rows, _PAIRED_TILE_ROWS):
        tile_rows = min(rows.n_rows - tile, _PAIRED_TILE_ROWS)
        load_planes(rows, tile, tile_rows, planes)
        if has_byte_ids:
            for i in range(tile_rows):
                label = rows.ids[tile + i]
                byte_ids[i] = uint8(label) if 0 <= label < _NO_BYTE_ID else uint8(_NO_BYTE_ID)
        for pair in range(0, n_paired, 2):
            for first in range(0, tile_rows, BUFFER_ROWS):
                here = min(tile_rows - first, BUFFER_ROWS)
                start = tile + first
                for k in range(2):
                    query = pair + k
                    fill_bytes(planes, queries.codes[query], first, here, 0, n_planes, keys[k])
                    if has_byte_ids:
                        ids = byte_ids[first : first + here]
                        _add_where_equal(
                            ids, uint8(queries.ids[query]), uint8(n_distances), keys[k]
                        )
                        continue
                    fill_grades(query, queries, rows, start, here, grades)
                    _add_grades_to_bytes(grades, here, uint16(n_distances), keys[k])
                _count_pairs(keys[0], keys[1], here, uint16(n_cells), both, table)
            _empty_table(table, histograms[pair].reshape(-1), histograms[pair + 1].reshape(-1))


@inner_kernel
def _count_one_by_one(
    rows: Rows,
    queries: Queries,
    histograms: NDArray[np.int64],
    first_query: int,
) -> None:
    """Histograms of the queries from ``first_query`` on."""
    n_distances = uint32(histograms.shape[2])
    planes = np.zeros((queries.codes.shape[1], BUFFER_ROWS), np.uint8)
    counts = np.empty(BUFFER_ROWS, np.uint8)
    keys = np.empty(BUFFER_ROWS, np.uint32)
    grades = np.empty(BUFFER_ROWS, np.uint16)
    for first in range(0, rows.n_rows, BUFFER_ROWS):
        here = min(rows.n_rows - first, BUFFER_ROWS)
        load_planes(rows, first, here, planes)
        for query in range(first_query, len(queries.codes)):
            fill_distances(planes, queries.codes[query], here, counts, keys)
            fill_grades(query, queries, rows, first, here, grades)
            _add_grades(grades, here, n_distances, keys)
            histogram = histograms[query].reshape(-1)
            for i in range(here):
                histogram[uint64(keys[i])] += 1


@kernel
def add_histograms(rows: Rows, queries: Queries, histograms: NDArray[np.int64]) -> None:
    """Count the rows at each grade and distance from each query.

    Parameters
    ----------
    histograms
        int64 [q, n_grades, n_bits + 1], modified; ``n_grades`` is greater than every grade.
    """
    n_queries, n_cells = len(queries.codes), histograms.shape[1] * histograms.shape[2]
    # Emptying the table must not cost more than it saves. Tables of this size have keys of a byte.
    is_paired = n_cells * n_cells <= min(rows.n_rows, _MOST_PAIRED_CELLS)
    n_paired = n_queries // 2 * 2 if is_paired else 0
    if n_paired:
        _count_in_pairs(rows, queries, histograms, n_paired)
    if n_paired < n_queries:
        _count_one_by_one(rows, queries, histograms, n_paired)
