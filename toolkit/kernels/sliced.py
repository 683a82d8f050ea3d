"""Linear search for many queries: blocks of rows are transposed once for all queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import int64, uint64

from hashkit.kernels.bits import trailing_zeros
from hashkit.kernels.compiling import inlined, inner_kernel, kernel
from hashkit.kernels.planes import LANES, PLANE_BYTES, UNIT_ROWS, near_rows, transpose_unit
from hashkit.kernels.selection import Selection, take
from hashkit.kernels.widths import COUNTERS, counters_for
from hashkit.kernels.words import n_safe_rows

__all__ = ["plane_bytes", "plane_scanner", "query_picks"]

BLOCK_BYTES = 16_384
"""Bytes of planes that all queries are compared with at a time: half a level-1 cache."""

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
        uint16 [q, 8 * size], in bytes; bit j is bit j % 8, from the lowest, of byte j // 8.
    """
    n_queries, size = query_codes.shape
    picks = np.empty((n_queries, 8 * size), np.uint16)
    for query in range(n_queries):
        for bit in range(8 * size):
            is_set = (query_codes[query, bit >> 3] >> (bit & 7)) & 1
            picks[query, bit] = (2 * bit + is_set) * (PLANE_BYTES // 2)
    return picks


def plane_bytes(size: int) -> int:
    """Bytes that ``scan_planes`` needs for the planes of codes of ``size`` bytes."""
    return max(BLOCK_BYTES, 8 * size * PLANE_BYTES) + 32


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
        planes = (uint64(memory.ctypes.data) + uint64(31)) & ~uint64(31)
        padded = np.zeros((UNIT_ROWS + 8, size), np.uint8)  # the last rows and padding
        near = np.empty((1 + n_counters, LANES), np.uint64)
        for first in range(0, n_rows, n_units * UNIT_ROWS):
            block_units = min(n_units, (n_rows - first + UNIT_ROWS - 1) // UNIT_ROWS)
            for unit in range(block_units):
                own_planes = planes + uint64(unit * unit_bytes)
                transpose_rows(codes, first + unit * UNIT_ROWS, padded, own_planes)
            for query in range(picks.shape[0]):
                own_picks = uint64(picks.ctypes.data) + uint64(2 * 8 * size * query)
                for unit in range(block_units):
                    own_planes = planes + uint64(unit * unit_bytes)
                    near_address = uint64(near.ctypes.data)
                    if near_rows(
                        own_planes, own_picks, size, state.bounds[query], near_address, n_counters
                    ):
                        unit_row = first + unit * UNIT_ROWS
                        take_near(query, near, unit_row, n_rows, first_row, kept, top_k, state)

    return scan_planes


_SCANNERS = {counters: _scanner(counters) for counters in COUNTERS}


@inner_kernel
def transpose_rows(codes: Any, first: int, padded: Any, planes: int) -> None:
    """Transpose the 256 rows from ``first`` on, or as many as there are, into bit planes.

    Where reading whole words would pass the end of ``codes``, the rows are first copied to
    ``padded``, uint8 [256 + 8, size]. Older rows left in it lie past the end and are ignored.
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


@inlined
def take_near(
    query: int,
    near: Any,
    unit: int,
    n_rows: int,
    first_row: int,
    kept: Any,
    top_k: int,
    state: Selection,
) -> None:
    """Take the rows that ``near_rows`` found in the unit whose first row is ``unit``."""
    for lane in range(LANES):
        left = near[0, lane]
        while left:
            place = trailing_zeros(left)
            left &= left - uint64(1)
            row = unit + 64 * lane + int64(place)
            distance = 0
            for bit in range(near.shape[0] - 1):
                distance |= int64((near[1 + bit, lane] >> place) & uint64(1)) << bit
            if distance >= state.bounds[query] or row >= n_rows:
                continue
            if kept.shape[0] == 0 or kept[row]:
                take(query, distance, first_row + row, top_k, state)
