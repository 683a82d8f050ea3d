"""Joint histograms of distance and grade, and precision sums in row order, over packed codes.

Both process the rows in tiles that stay in cache while every query is compared with them. A tile's
codes are stored as planes of bytes: the first byte of every code, then the second, and so on. So
the distances and grades of a query are vector loops into small buffers. Only counting, the last
step, goes row by row with one store each. Where the table is small enough, two queries share it.

A row's **grade** for a query is the number of labels they share. Labels come in one of two forms,
and the other form's arrays are empty: ``ids``, one label per row, equal or not; or ``words``, a set
of labels per row as bits of 64-bit words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint8, uint16, uint32, uint64
from numpy.typing import NDArray

from hashkit.kernels.bits import load_word, popcount
from hashkit.kernels.compiling import inner_kernel, kernel

__all__ = ["Queries", "Rows", "add_histograms", "add_row_order"]

# Rows in the buffers of distances and grades: 2,048 rows of one query fit the level-1 cache.
_BUFFER_ROWS = 2048

# Rows of a tile where two queries share a table. The table is emptied once per tile, which costs a
# twentieth of the counting; the planes of 48-bit codes take 192 KiB.
_PAIRED_TILE_ROWS = 32_768

# Maximum cells of the table that two queries share: 128 KiB, of which only a part is touched.
_MOST_PAIRED_CELLS = 2**15

# The most planes, an even number, whose count of differing bits, at most 240, fits a byte.
_BYTE_PLANES = 30


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


# Stands for any label that no query has, where labels are compared as bytes.
_NO_BYTE_ID = 255


@inner_kernel
def _load_planes(rows: Rows, first: int, n_rows: int, planes: NDArray[np.uint8]) -> None:
    """Write the codes of rows from ``first`` on as planes of bytes; other planes do not change."""
    last_start, size = rows.n_bytes - 8, rows.size
    for i in range(n_rows):
        for plane in range(0, size, 8):
            start = (first + i) * size + plane
            # The 8 bytes from here may end past the codes; then read the last 8 and shift them.
            shift = uint64(8 * max(0, start - last_start))
            word = load_word(rows.address + uint64(min(start, last_start))) >> shift
            for byte in range(plane, min(plane + 8, size)):
                planes[byte, i] = uint8(word)
                word >>= uint64(8)


@inner_kernel
def _fill_bytes(
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
def _fill_distances(
    planes: NDArray[np.uint8],
    query_bytes: NDArray[np.uint8],
    n_rows: int,
    counts: NDArray[np.uint8],
    distances: NDArray[np.uint32],
) -> None:
    n_planes = len(planes)
    for first_plane in range(0, n_planes, _BYTE_PLANES):
        last_plane = min(first_plane + _BYTE_PLANES, n_planes)
        _fill_bytes(planes, query_bytes, 0, n_rows, first_plane, last_plane, counts)
        if first_plane == 0:
            for i in range(n_rows):
                distances[i] = counts[i]
        else:
            for i in range(n_rows):
                distances[i] += counts[i]


@inner_kernel
def _fill_grades(
    query: int,
    queries: Queries,
    rows: Rows,
    first: int,
    n_rows: int,
    grades: NDArray[np.uint16],
) -> None:
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
    keys = np.empty((2, _BUFFER_ROWS), np.uint8)
    grades = np.empty(_BUFFER_ROWS, np.uint16)
    both = np.empty(_BUFFER_ROWS, np.uint16)
    table = np.zeros(n_cells * n_cells, np.uint32)
    # Labels that fit a byte, such as those of a hundred classes, are compared four times as fast.
    has_byte_ids = len(queries.ids) > 0
    for query in range(len(queries.ids)):
        has_byte_ids &= queries.ids[query] < _NO_BYTE_ID
    byte_ids = np.empty(_PAIRED_TILE_ROWS, np.uint8)
    for tile in range(0, rows.n_rows, _PAIRED_TILE_ROWS):
        tile_rows = min(rows.n_rows - tile, _PAIRED_TILE_ROWS)
        _load_planes(rows, tile, tile_rows, planes)
        if has_byte_ids:
            for i in range(tile_rows):
                label = rows.ids[tile + i]
                byte_ids[i] = uint8(label) if 0 <= label < _NO_BYTE_ID else uint8(_NO_BYTE_ID)
        for pair in range(0, n_paired, 2):
            for first in range(0, tile_rows, _BUFFER_ROWS):
                here = min(tile_rows - first, _BUFFER_ROWS)
                start = tile + first
                for k in range(2):
                    query = pair + k
                    _fill_bytes(planes, queries.codes[query], first, here, 0, n_planes, keys[k])
                    if has_byte_ids:
                        ids = byte_ids[first : first + here]
                        _add_where_equal(
                            ids, uint8(queries.ids[query]), uint8(n_distances), keys[k]
                        )
                        continue
                    _fill_grades(query, queries, rows, start, here, grades)
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
    planes = np.zeros((queries.codes.shape[1], _BUFFER_ROWS), np.uint8)
    counts = np.empty(_BUFFER_ROWS, np.uint8)
    keys = np.empty(_BUFFER_ROWS, np.uint32)
    grades = np.empty(_BUFFER_ROWS, np.uint16)
    for first in range(0, rows.n_rows, _BUFFER_ROWS):
        here = min(rows.n_rows - first, _BUFFER_ROWS)
        _load_planes(rows, first, here, planes)
        for query in range(first_query, len(queries.codes)):
            _fill_distances(planes, queries.codes[query], here, counts, keys)
            _fill_grades(query, queries, rows, first, here, grades)
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


@inner_kernel
def _add_precisions(
    ranks: NDArray[np.int64],
    distances: NDArray[np.uint32],
    hits: NDArray[np.int64],
    sums: NDArray[np.uint64],
) -> None:
    """Add the precisions at the ranks of at most `_BUFFER_ROWS` relevant rows, in row order.

    ``hits`` and ``sums`` are those of `add_row_order`, for one query.
    """
    coarse, fine = uint64(0), sums[1]
    for i in range(len(ranks)):
        distance = uint64(distances[i])
        n_hits = hits[distance] + int64(1)
        hits[distance] = n_hits
        units = uint64(int64(n_hits / ranks[i] * 1152921504606846976.0))  # 2^60
        coarse += units >> uint64(30)
        fine += units & uint64(1073741823)
    sums[0] += coarse + (fine >> uint64(30))
    sums[1] = fine & uint64(1073741823)


@kernel
def add_row_order(
    rows: Rows,
    queries: Queries,
    skipped: NDArray[np.int64],
    rows_before: NDArray[np.int64],
    hits_before: NDArray[np.int64],
    precision_sums: NDArray[np.uint64],
) -> None:
    """Add up the precision at the rank of each relevant row, with ranks by (distance, row).

    Sums are whole numbers of units of 2^-60, so they are the same in whatever parts the rows are
    added. A precision is a float64 of 53 bits, at most 1: those from 2^-7 on are added without a
    loss, smaller ones with an error below one unit.

    Parameters
    ----------
    skipped
        int64 [q], a row that is left out of the ranking of each query; -1 for none.
    rows_before, hits_before
        int64 [q, n_bits + 2], rows and relevant rows ranked before the next row of each distance;
        updated with these rows. The last column counts the skipped rows.
    precision_sums
        uint64 [q, 2], modified: units of 2^-30, and further units of 2^-60, fewer than 2^30.
    """
    planes = np.zeros((queries.codes.shape[1], _BUFFER_ROWS), np.uint8)
    counts = np.empty(_BUFFER_ROWS, np.uint8)
    distances = np.empty(_BUFFER_ROWS, np.uint32)
    grades = np.empty(_BUFFER_ROWS, np.uint16)
    found_ranks = np.empty(_BUFFER_ROWS, np.int64)
    found_distances = np.empty(_BUFFER_ROWS, np.uint32)
    for first in range(0, rows.n_rows, _BUFFER_ROWS):
        here = min(rows.n_rows - first, _BUFFER_ROWS)
        _load_planes(rows, first, here, planes)
        for query in range(len(queries.codes)):
            _fill_distances(planes, queries.codes[query], here, counts, distances)
            _fill_grades(query, queries, rows, first, here, grades)
            before, hits = rows_before[query], hits_before[query]
            own = skipped[query] - first
            if 0 <= own < here:
                distances[own] = uint32(len(before) - 1)
                grades[own] = uint16(0)
            n_found = uint64(0)
            for i in range(here):
                distance = uint64(distances[i])
                rank = before[distance] + int64(1)
                before[distance] = rank
                # Written for every row and kept for relevant ones, without a branch: which rows
                # are relevant cannot be predicted.
                found_ranks[n_found], found_distances[n_found] = rank, uint32(distance)
                n_found += uint64(grades[i] != uint16(0))
            _add_precisions(found_ranks[:n_found], found_distances, hits, precision_sums[query])
