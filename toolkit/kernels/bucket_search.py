"""Searches the tables of multi-index hashing (arXiv 1307.2982, sections 3 and 4).

Why a search is exact, and reports each row once
------------------------------------------------
A search takes steps 0, 1, 2, ... Step ``i = t * m + j`` probes, in table j of m, every bucket whose
substring differs from the query's in t bits. Let a row's substrings differ in d_0, ..., d_{m-1}
bits, whatever their lengths; its distance is their sum d. If no step up to i has found the row,
then d_l > t for the tables l <= j and d_l >= t for the others, so
``d >= (j + 1) * (t + 1) + (m - 1 - j) * t = t * m + j + 1 = i + 1``. Hence after step i every row
with d <= i has been found: radius r takes steps 0 to r, and the k nearest rows are known after the
first step i by which k rows with d <= i have been found. Table l finds the row at step
``d_l * m + l``. If the smallest of these is the current step, the row is new; otherwise an earlier
step has already found it. So no list of the rows seen is needed.

Buckets are probed in batches (`bucket_probing`). For the entries whose sketch is near, first the
row numbers and then the codes are prefetched before the first of them is read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.bits import popcount, prefetch
from hashkit.kernels.bucket_probing import (
    BATCH,
    PENDING,
    choose_buckets,
    compare_sketches,
    open_buckets,
)
from hashkit.kernels.buckets import Tables, address_of, sketch, substring
from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.words import code_word

__all__ = [
    "BUDGET",
    "DAMAGED",
    "FIRST_KEY",
    "FIRST_ROW",
    "N_KEYS",
    "N_STATE",
    "SPENT",
    "TOP_K",
    "new_buffers",
    "search_tables",
    "take_steps",
]

TRIAL = 16  # queries after which all queries are given up if most have been
DISTANCE_SHIFT = 48  # a key is distance << 48 | row

# Indices into the state of a query: its radius, which shrinks to the distance of the k-th nearest
# row; rows found within it; number of keys of all queries; first key of this query; cost so far;
# the budget; rows wanted; whether a table is damaged; the first row that may be found.
RADIUS, N_WITHIN, N_KEYS, FIRST_KEY, SPENT, BUDGET, TOP_K, DAMAGED, FIRST_ROW, N_STATE = range(10)


class Buffers(NamedTuple):
    """Memory that is reused for each query.

    Attributes
    ----------
    words
        uint64 [n_words], the query's code as `code_word` reads it.
    counts
        int64 [radius + 1], rows found at each distance.
    batch
        int64 [2, BATCH], first and last entry of each bucket of the batch.
    pending
        int64 [PENDING], entries whose sketch is near, later replaced by their rows.
    """

    words: NDArray[np.uint64]
    counts: NDArray[np.int64]
    batch: NDArray[np.int64]
    pending: NDArray[np.int64]


@inner_kernel
def new_buffers(tables: Tables, radius: int) -> Buffers:
    """Buffers for queries within a radius."""
    return Buffers(
        np.empty(tables.masks.shape[1], np.uint64),
        np.empty(radius + 1, np.int64),
        np.empty((2, BATCH), np.int64),
        np.empty(PENDING, np.int64),
    )


@kernel
def search_tables(
    tables: Tables,
    query_codes: NDArray[np.uint8],
    kept: NDArray[np.uint8],
    radius: int,
    top_k: int,
    budget: int,
    costs: tuple[int, int, int],
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], bool]:
    """Search for queries one after the other.

    Parameters
    ----------
    query_codes
        uint8 [q, size].
    kept
        uint8 [n], 0 for rows to leave out; or empty for all rows.
    radius, top_k
        Largest distance wanted, 0 or more, and number of rows wanted, 1 or more.
    budget
        Maximum cost of a query, in the unit of ``costs``.
    costs
        Cost of probing a bucket, of comparing one of its entries, and of reading an entry's code.

    Returns
    -------
    tuple
        keys, uint64 [m], ``distance << 48 | row``, ascending within a query; ends, int64 [q + 1]:
        query i has the keys ``ends[i]`` to ``ends[i + 1]``; spent, int64 [q], the cost of each
        query; given_up, bool [q], the queries without an answer, because they or most of the first
        ones exceeded the budget; and whether a table is damaged.
    """
    n_queries, size = query_codes.shape
    keys = np.empty(64, np.uint64)
    ends = np.zeros(n_queries + 1, np.int64)
    spent = np.zeros(n_queries, np.int64)
    given_up = np.zeros(n_queries, np.bool_)
    state = np.zeros(N_STATE, np.int64)
    state[TOP_K], state[BUDGET] = top_k, budget
    buffers = new_buffers(tables, radius)
    n_given_up = 0
    for query in range(n_queries):
        given_up[query] = query >= TRIAL and 2 * n_given_up > query
        if not given_up[query]:
            code = address_of(query_codes) + np.uint64(query * size)
            keys = answer(tables, code, kept, costs, state, buffers, keys)
            given_up[query] = state[SPENT] > budget
            spent[query] = state[SPENT]
        if given_up[query]:
            n_given_up += 1
            state[N_KEYS] = ends[query]
        ends[query + 1] = state[N_KEYS]
    return keys[: state[N_KEYS]], ends, spent, given_up, state[DAMAGED] != 0


@inner_kernel
def answer(
    tables: Tables,
    code: Any,
    kept: NDArray[np.uint8],
    costs: tuple[int, int, int],
    state: NDArray[np.int64],
    buffers: Buffers,
    keys: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Append the keys of one query in order; return the array of keys, which may be a new one."""
    keys = take_steps(tables, code, kept, costs, state, buffers, keys)
    if state[SPENT] <= state[BUDGET]:
        drop_far_keys(keys, state)
        keys[state[FIRST_KEY] : state[N_KEYS]].sort()
        state[N_KEYS] = min(state[N_KEYS], state[FIRST_KEY] + state[TOP_K])
    return keys


@inner_kernel
def take_steps(
    tables: Tables,
    code: Any,
    kept: NDArray[np.uint8],
    costs: tuple[int, int, int],
    state: NDArray[np.int64],
    buffers: Buffers,
    keys: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Append the keys of one query, in no order; too few if its cost exceeds the budget."""
    for word in range(len(buffers.words)):
        buffers.words[word] = code_word(code, tables.codes.shape[1], word)
    for distance in range(len(buffers.counts)):
        buffers.counts[distance] = 0
    state[RADIUS], state[N_WITHIN], state[SPENT] = len(buffers.counts) - 1, 0, 0
    state[FIRST_KEY] = state[N_KEYS]
    step = np.int64(0)
    while step <= state[RADIUS] and state[SPENT] <= state[BUDGET]:
        keys = take_step(tables, code, step, kept, costs, state, buffers, keys)
        step += 1
    return keys


@inner_kernel
def take_step(
    tables: Tables,
    code: Any,
    step: Any,
    kept: NDArray[np.uint8],
    costs: tuple[int, int, int],
    state: NDArray[np.int64],
    buffers: Buffers,
    keys: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Probe all buckets of one table at one distance from the query's substring."""
    distance, table = divmod(step, len(tables.lengths))
    n_rows, size = tables.codes.shape
    offsets = tables.offsets[tables.offset_starts[table] :]
    sketches = tables.sketches[table * n_rows : (table + 1) * n_rows]
    rows = tables.rows[table * n_rows : (table + 1) * n_rows]
    bucket = substring(code, tables.first_bits[table], tables.lengths[table])
    query_sketch = sketch(code, size, tables.masks[table])
    end = np.int64(1) << tables.lengths[table]
    flips = (np.int64(1) << distance) - 1  # the bits of the substring that differ
    while flips < end:
        flips, n_probes = choose_buckets(offsets, bucket, flips, end, buffers.batch)
        n_entries = open_buckets(offsets, sketches, n_probes, buffers.batch)
        state[DAMAGED] |= n_entries < 0
        state[SPENT] += n_probes * costs[0] + n_entries * costs[1]
        probe = 0
        while probe < n_probes and state[SPENT] <= state[BUDGET] and not state[DAMAGED]:
            allowed = state[RADIUS] - distance
            probe, n_pending = compare_sketches(
                sketches, query_sketch, allowed, probe, n_probes, buffers.batch, buffers.pending
            )
            if n_pending:
                state[SPENT] += n_pending * costs[2]
                keys = compare_codes(tables, rows, step, n_pending, kept, state, buffers, keys)
        if state[SPENT] > state[BUDGET] or state[DAMAGED]:
            break
    return keys


@inner_kernel
def compare_codes(
    tables: Tables,
    rows: Any,
    step: Any,
    n_pending: Any,
    kept: NDArray[np.uint8],
    state: NDArray[np.int64],
    buffers: Buffers,
    keys: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Add the keys of the collected entries whose rows are near, kept and new."""
    n_rows, size = tables.codes.shape
    address, rows_address = address_of(tables.codes), address_of(rows)
    words, pending = buffers.words, buffers.pending
    for index in range(n_pending):
        prefetch(rows_address + np.uint64(pending[index] * rows.itemsize))
    for index in range(n_pending):
        row = np.int64(rows[pending[index]])
        pending[index] = row
        prefetch(address + np.uint64(row * size))
    for index in range(n_pending):
        row = pending[index]
        if row < 0 or row >= n_rows:
            state[DAMAGED] = 1
            break
        if row < state[FIRST_ROW]:
            continue
        code = address + np.uint64(row * size)
        distance = np.int64(0)
        for word in range(len(words)):
            distance += np.int64(popcount(code_word(code, size, word) ^ words[word]))
        if distance > state[RADIUS] or (len(kept) and not kept[row]):
            continue
        if first_step(tables, code, step, words) == step:
            keys = add_key(distance, row, state, buffers.counts, keys)
    return keys


@inner_kernel
def first_step(tables: Tables, code: Any, step: Any, words: NDArray[np.uint64]) -> Any:
    """The first step that finds the code at an address, or ``step`` if that is earlier."""
    n_tables, size = len(tables.lengths), tables.codes.shape[1]
    for table in range(n_tables):
        first_bit = tables.first_bits[table]
        distance = np.int64(0)
        for word in range(first_bit >> 6, ((first_bit + tables.lengths[table] - 1) >> 6) + 1):
            differing = code_word(code, size, word) ^ words[word]
            distance += np.int64(popcount(differing & tables.masks[table, word]))
        step = min(step, distance * n_tables + table)
    return step


@inner_kernel
def add_key(
    distance: Any,
    row: Any,
    state: NDArray[np.int64],
    counts: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Append a key, and shrink the radius to the distance of the k-th nearest row so far."""
    if state[N_KEYS] == len(keys):
        drop_far_keys(keys, state)
        if 2 * state[N_KEYS] > len(keys):
            larger = np.empty(2 * len(keys), np.uint64)
            for index in range(len(keys)):
                larger[index] = keys[index]
            keys = larger
    keys[state[N_KEYS]] = (np.uint64(distance) << np.uint64(DISTANCE_SHIFT)) | np.uint64(row)
    state[N_KEYS] += 1
    counts[distance] += 1
    state[N_WITHIN] += 1
    while state[N_WITHIN] - counts[state[RADIUS]] >= state[TOP_K]:
        state[N_WITHIN] -= counts[state[RADIUS]]
        state[RADIUS] -= 1
    return keys


@inner_kernel
def drop_far_keys(keys: NDArray[np.uint64], state: NDArray[np.int64]) -> None:
    """Drop the query's keys that are now beyond its radius."""
    beyond = np.uint64(state[RADIUS] + 1) << np.uint64(DISTANCE_SHIFT)
    n_keys = state[FIRST_KEY]
    for index in range(state[FIRST_KEY], state[N_KEYS]):
        if keys[index] < beyond:
            keys[n_keys] = keys[index]
            n_keys += 1
    state[N_KEYS] = n_keys
