"""Linear search for many queries: blocks of rows are transposed once for all queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint64

from hashkit.kernels.bits import trailing_zeros
from hashkit.kernels.compiling import inlined, inner_kernel, kernel
from hashkit.kernels.cpu import LANES
from hashkit.kernels.marked import take_marked
from hashkit.kernels.planes import PLANE_BYTES, UNIT_ROWS, near_rows, transpose_unit
from hashkit.kernels.selection import Selection
from hashkit.kernels.widths import COUNTERS, counters_for
from hashkit.kernels.words import n_safe_rows

__all__ = ["plane_bytes", "plane_scanner", "query_picks"]

BLOCK_BYTES = 16_384
"""Bytes of planes that all queries are compared with at a time: half a level-1 cache."""

FIRST_ROWS = 64

_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def query_picks(query_codes: Any) -> Any:
    """For every bit of every query, the offset in a unit's planes of the vector of differing rows.

    Parameters
    ----------
    query_codes
        uint8 [q, size].

    Returns
    -------
    NDArray
        uint16 [q, 8 * size], in words of 8 bytes; bit j is bit j % 8, from the lowest, of byte
        j // 8.
    """
    n_queries, size = query_codes.shape
    picks = np.empty((n_queries, 8 * size), np.uint16)
    for query in range(n_queries):
        for bit in range(8 * size):
            is_set = (query_codes[query, bit >> 3] >> (bit & 7)) & 1
            picks[query, bit] = (2 * bit + is_set) * LANES
    return picks


def plane_bytes(size: int) -> int:
    """Bytes that ``scan_planes`` needs for the planes of codes of ``size`` bytes."""
    return max(BLOCK_BYTES, 8 * size * PLANE_BYTES) + 64


def plane_scanner(n_bits: int) -> Callable[..., None]:
    """The kernel ``scan_planes`` for codes of ``n_bits`` bits.

    The number of bits of a distance is the number of vectors in registers, so there is one kernel
    for every second such number. Each is compiled at its first call.
    """
    return _SCANNERS[counters_for(n_bits)]


def _scanner(n_counters: int) -> Callable[..., None]:
    """``scan_planes`` for distances of ``n_counters`` bits."""

    @kernel
    def scan_planes(
        codes: Any,
        first_row: int,
        kept: Any,
        query_words: Any,
        picks: Any,
        memory: Any,
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
        picks
            uint16 [q, 8 * size], see `query_picks`.
        memory
            uint8 [plane_bytes(size)], buffer for the planes.
        top_k, state
            See `hashkit.kernels.selection`.
        """
        n_rows, size = codes.shape
        unit_bytes = 8 * size * PLANE_BYTES
        n_units = max(1, BLOCK_BYTES // unit_bytes)
        # A local array of which only the address is used would be freed at once; an argument is
        # not.
        planes = (uint64(memory.ctypes.data) + uint64(63)) & ~uint64(63)
        padded = np.zeros((UNIT_ROWS + 8, size), np.uint8)  # the last rows and padding
        n_queries = picks.shape[0]
        hits = new_hits(n_queries * n_units)
        limits = np.empty((n_queries, n_counters), np.uint64)
        for query in range(n_queries):
            spread(state.bounds[query], limits, query)
        first = 0
        while first < n_rows:
            # The first rows are all near, so few are compared before bounds are lowered.
            block_rows = FIRST_ROWS if first == 0 else n_units * UNIT_ROWS
            stop = min(first + block_rows, n_rows)
            block_units = (stop - first + UNIT_ROWS - 1) // UNIT_ROWS
            for unit in range(block_units):
                own_planes = planes + uint64(unit * unit_bytes)
                transpose_rows(codes, first + unit * UNIT_ROWS, padded, own_planes)
            n_hits = 0
            for query in range(n_queries):
                own_picks = uint64(picks.ctypes.data) + uint64(2 * 8 * size * query)
                limit = uint64(limits.ctypes.data) + uint64(8 * n_counters * query)
                for unit in range(block_units):
                    own_planes = planes + uint64(unit * unit_bytes)
                    near = uint64(hits.near.ctypes.data) + uint64(8 * LANES * n_hits)
                    lanes = near_rows(own_planes, own_picks, size, limit, near, n_counters)
                    if lanes:
                        hits.lanes[n_hits] = lanes
                        hits.queries[n_hits] = query
                        hits.starts[n_hits] = first + unit * UNIT_ROWS
                        n_hits += 1
            if n_hits:
                own_hits = (hits, n_hits, stop)
                take_hits(own_hits, query_words, codes, first_row, kept, top_k, state, limits)
            first = stop

    return scan_planes


_SCANNERS = {counters: _scanner(counters) for counters in COUNTERS}


class Hits(NamedTuple):
    """Units with rows that are near, in the order in which they were compared.

    Attributes
    ----------
    near
        uint64 [n, LANES], see `near_rows`.
    lanes
        uint64 [n], the lanes that are not 0.
    queries, starts
        int64 [n]: the number of the query, and the first row of the unit.
    """

    near: Any
    lanes: Any
    queries: Any
    starts: Any


@inlined
def new_hits(n_most: int) -> Hits:
    """Space for ``n_most`` hits."""
    return Hits(
        np.empty((n_most, LANES), np.uint64),
        np.empty(n_most, np.uint64),
        np.empty(n_most, np.int64),
        np.empty(n_most, np.int64),
    )


@inner_kernel
def take_hits(
    own_hits: tuple[Hits, int, int],
    query_words: Any,
    codes: Any,
    first_row: int,
    kept: Any,
    top_k: int,
    state: Selection,
    limits: Any,
) -> None:
    """Take the rows of all hits, and write the bounds that they lower to ``limits``.

    ``own_hits`` has the hits, their number, and the end of the rows that were compared.
    """
    hits, n_hits, stop = own_hits
    for hit in range(n_hits):
        query = hits.queries[hit]
        bound = state.bounds[query]
        words = uint64(query_words.ctypes.data) + uint64(8 * query_words.shape[1] * query)
        lanes = hits.lanes[hit]
        while lanes:
            lane = int64(trailing_zeros(lanes))
            lanes &= lanes - uint64(1)
            start = hits.starts[hit] + 64 * lane
            take_marked(
                query,
                hits.near[hit, lane],
                start,
                stop,
                words,
                codes,
                first_row,
                kept,
                top_k,
                state,
            )
        if state.bounds[query] != bound:
            spread(state.bounds[query], limits, query)


@inner_kernel
def transpose_rows(codes: Any, first: int, padded: Any, planes: int) -> None:
    """Transpose a unit of rows from ``first`` on, or as many as there are, into bit planes.

    Where reading whole words would pass the end of ``codes``, the rows are first copied to
    ``padded``, uint8 [UNIT_ROWS + 8, size]. Older rows left in it lie past the end and are ignored.
    """
    n_rows, size = codes.shape
    address = uint64(codes.ctypes.data) + uint64(first * size)
    if first + UNIT_ROWS > n_safe_rows(n_rows, size):
        address = uint64(padded.ctypes.data)
        for row in range(min(UNIT_ROWS, n_rows - first)):
            for byte in range(size):
                padded[row, byte] = codes[first + row, byte]
    for byte in range(0, size, 8):
        n_planes = 8 * min(8, size - byte)
        transpose_unit(
            address + uint64(byte),
            size,
            _FULL >> uint64(64 - n_planes),
            n_planes,
            planes + uint64(8 * byte * PLANE_BYTES),
        )


@inner_kernel
def spread(bound: int, limits: Any, query: int) -> None:
    """Write the bits of a query's bound to its row of ``limits``, each as 0 or all ones."""
    for bit in range(limits.shape[1]):
        limits[query, bit] = _FULL if (bound >> bit) & 1 else uint64(0)
