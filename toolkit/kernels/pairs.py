"""Finds all pairs of near codes: each code of one set with those of another, or of its own set.

A key holds a pair: ``number << 56 | row << 16 | distance``, where ``number`` counts the left codes
of a call, or is 0 where the keys of each left code are apart anyway, and ``row`` is that of the
right code. So ascending keys are ordered by left and right row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from hashkit.kernels.bucket_search import (
    BUDGET,
    FIRST_KEY,
    FIRST_ROW,
    N_KEYS,
    N_STATE,
    SPENT,
    TOP_K,
    new_buffers,
    take_steps,
)
from hashkit.kernels.buckets import Tables, address_of
from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.scan import CHUNK_ROWS, indices_below, rows_per_iteration, skip_far_rows
from hashkit.kernels.words import (
    chunk_distances,
    distance_to,
    last_mask,
    n_safe_rows,
    row_words,
)

__all__ = ["DISTANCE_BITS", "NUMBER_SHIFT", "join_by_scan", "join_by_tables", "place_pairs"]

DISTANCE_BITS = 16
NUMBER_SHIFT = 56
BLOCK_BYTES = 1 << 17  # of right codes, which stay in a level-2 cache for all left codes


@kernel
def join_by_tables(
    tables: Tables,
    left_codes: NDArray[np.uint8],
    first: int,
    last: int,
    is_self: bool,
    radius: int,
    kept: NDArray[np.uint8],
    budget: int,
    costs: tuple[int, int, int],
    max_keys: int,
    max_cost: int,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Find the pairs of the left codes ``first`` to ``last`` (exclusive) with the tables' codes.

    A left code whose search costs more than ``budget`` is compared with all codes instead.

    Parameters
    ----------
    left_codes
        uint8 [n, size]; the tables' own if ``is_self``, and then only pairs with a larger right
        row are found.
    kept
        uint8 [0]: all rows are searched.
    costs
        See `hashkit.kernels.bucket_search.search_tables`.
    max_keys, max_cost
        Number of keys, and cost of all left codes, after which no further left code is begun.

    Returns
    -------
    tuple
        keys, uint64 [m], ascending for each left code; ends, int64 [n_done + 1]: left code
        ``first + i`` has the keys ``ends[i]`` to ``ends[i + 1]``.
    """
    n_rows, size = tables.codes.shape
    keys = np.empty(1024, np.uint64)
    ends = np.zeros(last - first + 1, np.int64)
    state = np.zeros(N_STATE, np.int64)
    state[TOP_K], state[BUDGET] = n_rows + 1, budget
    buffers = new_buffers(tables, radius)
    near, distances = np.empty(CHUNK_ROWS, np.uint8), np.empty(CHUNK_ROWS, np.uint16)
    left, cost = first, np.int64(0)
    while left < last and state[N_KEYS] < max_keys and cost < max_cost:
        code = address_of(left_codes) + np.uint64(left * size)
        state[FIRST_ROW] = left + 1 if is_self else 0
        keys = take_steps(tables, code, kept, costs, state, buffers, keys)
        cost += state[SPENT]
        if state[SPENT] > budget:
            cost += 2 * budget
            keys, n_keys = append_near(
                tables.codes,
                state[FIRST_ROW],
                n_rows,
                buffers.words,
                radius,
                uint64(0),
                keys,
                state[FIRST_KEY],
                near,
                distances,
            )
            state[N_KEYS] = n_keys
        else:
            order_by_row(keys[state[FIRST_KEY] : state[N_KEYS]])
        left += 1
        ends[left - first] = state[N_KEYS]
    return keys[: state[N_KEYS]], ends[: left - first + 1]


@inner_kernel
def order_by_row(keys: NDArray[np.uint64]) -> None:
    """Turn keys ``distance << 48 | row`` of a search into those of one left code, ascending."""
    for index in range(len(keys)):
        keys[index] = (keys[index] << np.uint64(DISTANCE_BITS)) | (
            keys[index] >> np.uint64(64 - DISTANCE_BITS)
        )
    keys.sort()


@kernel
def join_by_scan(
    left_codes: NDArray[np.uint8],
    first: int,
    last: int,
    right_codes: NDArray[np.uint8],
    is_self: bool,
    radius: int,
    max_keys: int,
) -> tuple[NDArray[np.uint64], bool]:
    """Find the pairs of the left codes ``first`` to ``last`` (exclusive) by comparing all.

    Parameters
    ----------
    left_codes, right_codes
        uint8 [n, size] and [m, size]; the same if ``is_self``, and then only pairs with a larger
        right row are found. At most 256 left codes per call.
    max_keys
        Number of keys after which the call stops, unless it is for a single left code.

    Returns
    -------
    tuple
        keys, uint64 [m], ascending for each left code; and whether they are all.
    """
    n_rows, size = right_codes.shape
    words = row_words(left_codes[first:last])
    block_rows = max(CHUNK_ROWS, BLOCK_BYTES // size)
    keys, n_keys = np.empty(1024, np.uint64), 0
    near, distances = np.empty(CHUNK_ROWS, np.uint8), np.empty(CHUNK_ROWS, np.uint16)
    start = first + 1 if is_self else 0
    while start < n_rows:
        stop = min(start + block_rows, n_rows)
        for number in range(last - first):
            row = max(start, first + number + 1) if is_self else start
            tag = uint64(number) << uint64(NUMBER_SHIFT)
            keys, n_keys = append_near(
                right_codes, row, stop, words[number], radius, tag, keys, n_keys, near, distances
            )
        if n_keys > max_keys and last - first > 1:
            return keys[:0], False
        start = stop
    return keys[:n_keys], True


@kernel
def place_pairs(
    keys: NDArray[np.uint64],
    first: int,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    distance: NDArray[np.uint16],
) -> None:
    """Write the pairs of a scan ordered by (left, right), by a counting sort.

    Parameters
    ----------
    keys
        uint64 [m], from `join_by_scan`; the keys of each left code are in order already.
    first
        The first left code.
    left, right, distance
        int64, int64 and uint16 [m], the pairs; written.
    """
    places = np.zeros(1 << (64 - NUMBER_SHIFT), np.int64)
    for key in keys:
        places[key >> uint64(NUMBER_SHIFT)] += 1
    end = 0
    for number in range(len(places)):
        end += places[number]
        places[number] = end - places[number]
    row_mask = (uint64(1) << uint64(NUMBER_SHIFT - DISTANCE_BITS)) - uint64(1)
    for key in keys:
        number = key >> uint64(NUMBER_SHIFT)
        place = places[number]
        places[number] = place + 1
        left[place] = first + np.int64(number)
        right[place] = np.int64((key >> uint64(DISTANCE_BITS)) & row_mask)
        distance[place] = np.uint16(key & uint64((1 << DISTANCE_BITS) - 1))


@inner_kernel
def append_near(
    codes: NDArray[np.uint8],
    row: int,
    stop: int,
    words: NDArray[np.uint64],
    radius: int,
    tag: Any,
    keys: NDArray[np.uint64],
    n_keys: int,
    near: NDArray[np.uint8],
    distances: NDArray[np.uint16],
) -> tuple[NDArray[np.uint64], int]:
    """Append a key, with ``tag``, for each of the rows ``row`` to ``stop`` that is near a code.

    Returns the array of keys, which may be a new one, and the number of keys.
    """
    n_rows, size = codes.shape
    n_safe = min(n_safe_rows(n_rows, size), stop)
    mask, base = last_mask(size), uint64(codes.ctypes.data)
    iteration_rows = rows_per_iteration(size)
    while row < stop:
        n_iterations = max(0, n_safe - row) // iteration_rows
        address = base + uint64(row * size)
        row += iteration_rows * skip_far_rows(address, n_iterations, size, mask, words, radius + 1)
        n_near = 2
        while n_near > 1 and row < stop:  # compare in chunks while they hold near rows
            n_chunk = min(CHUNK_ROWS, stop - row)
            if row + n_chunk <= n_safe:
                address = base + uint64(row * size)
                chunk_distances(address, n_chunk, size, mask, words, distances)
            else:
                for index in range(n_chunk):
                    address = base + uint64((row + index) * size)
                    distances[index] = distance_to(address, size, words)
            n_near = indices_below(distances, n_chunk, radius + 1, near)
            if n_keys + n_near > len(keys):
                larger = np.empty(2 * len(keys), np.uint64)
                for index in range(n_keys):
                    larger[index] = keys[index]
                keys = larger
            for index in range(n_near):
                found = uint64(row + near[index]) << uint64(DISTANCE_BITS)
                keys[n_keys] = tag | found | uint64(distances[near[index]])
                n_keys += 1
            row += n_chunk
    return keys, n_keys
