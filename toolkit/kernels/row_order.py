"""Precision sums in row order: the precision at the rank of each relevant row, over packed codes.

A row's rank is the number of nearer rows, which the caller knows from histograms, plus the number
of rows at the same distance up to it, which are counted here: one increment per row. Everything
else is done for relevant rows only. The relevant rows of a buffer are found once for all queries
with the same label.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float64, int64, uint8, uint16, uint32, uint64
from numpy.typing import NDArray

from hashkit.kernels.compiling import inlined_sums, inner_kernel, kernel
from hashkit.kernels.labelled_rows import (
    BUFFER_ROWS,
    BYTE_PLANES,
    Queries,
    Rows,
    fill_bytes,
    fill_distances,
    fill_grades,
    load_planes,
)

__all__ = ["add_row_order"]

_UNITS = 1073741824.0  # 2^30


@inner_kernel
def _find_relevant(grades: NDArray[np.uint16], n_rows: int, found: NDArray[np.uint16]) -> Any:
    """Write the numbers of the rows with a grade to ``found``, and return how many there are."""
    n_found = uint64(0)
    for i in range(n_rows):
        # Without a branch: which rows are relevant cannot be predicted.
        found[n_found] = uint16(i)
        n_found += uint64(grades[i] != uint16(0))
    return n_found


@inner_kernel
def _without(found: NDArray[np.uint16], skipped: int, others: NDArray[np.uint16]) -> Any:
    """Copy the rows other than ``skipped`` to ``others``, and return how many there are."""
    n_others = uint64(0)
    for row in found:
        others[n_others] = row
        n_others += uint64(row != uint16(skipped))
    return n_others


@inner_kernel
def _rank(
    distances: Any,
    n_rows: int,
    relevant: NDArray[np.uint16],
    before: NDArray[np.int64],
    hits: NDArray[np.int64],
    found_hits: NDArray[np.float64],
    found_ranks: NDArray[np.float64],
) -> None:
    """Number of relevant rows, and of all rows, up to each relevant one, as exact floats."""
    # Numba allows for a negative signed index, which takes half as long again.
    row = uint64(0)
    for k in range(len(relevant)):
        stop = uint64(relevant[k]) + uint64(1)
        while row < stop:
            distance = uint64(distances[row])
            before[distance] += 1
            row += uint64(1)
        distance = uint64(distances[stop - uint64(1)])
        n_hits = hits[distance] + int64(1)
        hits[distance] = n_hits
        found_hits[k], found_ranks[k] = float64(n_hits), float64(before[distance])
    while row < uint64(n_rows):
        before[uint64(distances[row])] += 1
        row += uint64(1)


@inlined_sums
def _precision_sums(
    hits: NDArray[np.float64], ranks: NDArray[np.float64], n_found: int
) -> tuple[float, float]:
    """Sums of at most `BUFFER_ROWS` precisions in units of 2^-30, and of the rest in 2^-60.

    All numbers but the quotient are whole numbers below 2^53, or such numbers times a power of two,
    so the sums are exact in any order.
    """
    coarse, fine = 0.0, 0.0
    for k in range(n_found):
        units = hits[k] / ranks[k] * _UNITS
        whole = np.floor(units)
        coarse += whole
        fine += np.floor((units - whole) * _UNITS)
    return coarse, fine


@kernel
def add_row_order(
    rows: Rows,
    queries: Queries,
    order: NDArray[np.int64],
    skipped: NDArray[np.int64],
    rows_before: NDArray[np.int64],
    hits_before: NDArray[np.int64],
    precision_sums: NDArray[np.uint64],
) -> None:
    """Add up the precision at the rank of each relevant row, with ranks by (distance, row).

    Sums are whole numbers of units of 2^-60, so they do not depend on the parts in which rows are
    added. A precision is a float64 of 53 bits, at most 1: those from 2^-7 on are added without a
    loss, smaller ones with an error below one unit.

    Parameters
    ----------
    order
        int64 [q], the queries in the order in which they are compared: fastest if those with the
        same label follow each other.
    skipped
        int64 [q], a row that is left out of the ranking of each query; -1 for none.
    rows_before, hits_before
        int64 [q, n_bits + 2], rows and relevant rows ranked before the next row of each distance;
        updated with these rows. The last column counts the skipped rows.
    precision_sums
        uint64 [q, 2], modified: units of 2^-30, and further units of 2^-60, fewer than 2^30.
    """
    n_planes = queries.codes.shape[1]
    planes = np.zeros((n_planes, BUFFER_ROWS), np.uint8)
    # One of the two is used. Skipped rows get a distance of their own, which fits a byte too.
    in_bytes = np.empty(BUFFER_ROWS, np.uint8)
    distances = np.empty(BUFFER_ROWS, np.uint32)
    grades = np.empty(BUFFER_ROWS, np.uint16)
    found = np.empty(BUFFER_ROWS + 1, np.uint16)
    others = np.empty(BUFFER_ROWS + 1, np.uint16)
    found_hits = np.empty(BUFFER_ROWS, np.float64)
    found_ranks = np.empty(BUFFER_ROWS, np.float64)
    for first in range(0, rows.n_rows, BUFFER_ROWS):
        here = min(rows.n_rows - first, BUFFER_ROWS)
        load_planes(rows, first, here, planes)
        n_found = uint64(0)
        for k in range(len(order)):
            query = order[k]
            if k == 0 or not _has_label_of(queries, query, order[k - 1]):
                fill_grades(query, queries, rows, first, here, grades)
                n_found = _find_relevant(grades, here, found)
            relevant = found[:n_found]
            before, hits, sums = rows_before[query], hits_before[query], precision_sums[query]
            own = skipped[query] - first
            if 0 <= own < here:
                relevant = others[: _without(relevant, own, others)]
            if n_planes <= BYTE_PLANES:
                fill_bytes(planes, queries.codes[query], 0, here, 0, n_planes, in_bytes)
                if 0 <= own < here:
                    in_bytes[own] = uint8(len(before) - 1)
                _rank(in_bytes, here, relevant, before, hits, found_hits, found_ranks)
            else:
                fill_distances(planes, queries.codes[query], here, in_bytes, distances)
                if 0 <= own < here:
                    distances[own] = uint32(len(before) - 1)
                _rank(distances, here, relevant, before, hits, found_hits, found_ranks)
            coarse, fine = _precision_sums(found_hits, found_ranks, len(relevant))
            units = sums[1] + uint64(fine)
            sums[0] += uint64(coarse) + (units >> uint64(30))
            sums[1] = units & uint64(1073741823)


@inner_kernel
def _has_label_of(queries: Queries, query: int, other: int) -> bool:
    """Whether two queries have the same label; False for sets of labels."""
    return len(queries.ids) > 0 and queries.ids[query] == queries.ids[other]
