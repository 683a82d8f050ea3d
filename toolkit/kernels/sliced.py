"""Linear search for many queries: blocks of rows become bit planes that all queries pass over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import int64, uint64

from hashkit.kernels.bits import trailing_zeros
from hashkit.kernels.compiling import kernel
from hashkit.kernels.planes import LANES, PLANE_BYTES, UNIT_ROWS, near_rows, turn_unit
from hashkit.kernels.selection import take
from hashkit.kernels.words import n_safe_rows

__all__ = ["plane_bytes", "plane_scanner", "query_picks"]

BLOCK_BYTES = 32_768
"""Planes that every query passes over before the next rows are turned: a level-1 cache."""

_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def query_picks(query_codes: Any) -> Any:
    """For every bit of every query, where in a unit's planes the vector of differing rows lies.

    Parameters
    ----------
    query_codes
        uint8 [q, size].

    Returns
    -------
    NDArray
        uint16 [q, 8 * size]; bit j here is bit j % 8, from the lowest, of byte j // 8.
    """
    n_queries, size = query_codes.shape
    picks = np.empty((n_queries, 8 * size), np.uint16)
    for query in range(n_queries):
        for bit in range(8 * size):
            is_set = (query_codes[query, bit >> 3] >> (bit & 7)) & 1
            picks[query, bit] = (2 * bit + is_set) * (PLANE_BYTES // 2)
    return picks


def plane_bytes(size: int) -> int:
    """Room that ``scan_planes`` needs for the planes of codes of ``size`` bytes."""
    return max(BLOCK_BYTES, 8 * size * PLANE_BYTES) + 32


def plane_scanner(n_bits: int) -> Callable[..., None]:
    """The kernel ``scan_planes`` for codes of ``n_bits`` bits.

    There is one for every other number of bits that a bound may take, as that many vectors are
    kept in registers; each is compiled when it is first called.
    """
    return next(scan for counters, scan in _SCANNERS.items() if n_bits + 1 < 1 << counters)


def _scanner(n_counters: int) -> Callable[..., None]:
    """``scan_planes`` for distances of ``n_counters`` bits."""

    @kernel
    def scan_planes(
        codes: Any,
        first_row: int,
        alive: Any,
        picks: Any,
        memory: Any,
        top_k: int,
        counts: Any,
        bounds: Any,
        n_below: Any,
        n_held: Any,
        distances: Any,
        rows: Any,
    ) -> None:
        """Let rows go by for every query.

        Parameters
        ----------
        codes
            uint8 [n, size], C-contiguous: the rows ``first_row`` to ``first_row + n``.
        alive
            bool [n], the rows that may be taken; or bool [0] for all.
        picks
            uint16 [q, 8 * size], see `query_picks`.
        memory
            uint8 [plane_bytes(size)], room for planes.
        top_k, counts, bounds, n_below, n_held, distances, rows
            See `hashkit.kernels.selection`.
        """
        n_rows, size = codes.shape
        unit_bytes = 8 * size * PLANE_BYTES
        n_units = max(1, BLOCK_BYTES // unit_bytes)
        # An array that only its address is used of would be freed at once; an argument is not.
        planes = (uint64(memory.ctypes.data) + uint64(31)) & ~uint64(31)
        padded = np.zeros((UNIT_ROWS + 8, size), np.uint8)  # the last rows, and room behind them
        found = np.empty((12, LANES), np.uint64)
        found_address = uint64(found.ctypes.data)
        picks_address = uint64(picks.ctypes.data)
        n_safe = n_safe_rows(n_rows, size)
        for block in range(0, n_rows, n_units * UNIT_ROWS):
            block_units = min(n_units, (n_rows - block + UNIT_ROWS - 1) // UNIT_ROWS)
            for unit in range(block_units):
                row = block + unit * UNIT_ROWS
                address = uint64(codes.ctypes.data) + uint64(row * size)
                if row + UNIT_ROWS > n_safe:
                    for last in range(min(UNIT_ROWS, n_rows - row)):
                        for byte in range(size):
                            padded[last, byte] = codes[row + last, byte]
                    address = uint64(padded.ctypes.data)
                for byte in range(0, size, 8):
                    n_bytes = min(8, size - byte)
                    turn_unit(
                        address + uint64(byte),
                        size,
                        _FULL >> uint64(64 - 8 * n_bytes),
                        8 * n_bytes,
                        planes + uint64(unit * unit_bytes + 8 * byte * PLANE_BYTES),
                    )
            for query in range(picks.shape[0]):
                query_address = picks_address + uint64(2 * 8 * size * query)
                for unit in range(block_units):
                    address = planes + uint64(unit * unit_bytes)
                    bound = bounds[query]
                    if not near_rows(
                        address, query_address, size, bound, found_address, n_counters
                    ):
                        continue
                    for lane in range(LANES):
                        near = found[0, lane]
                        while near:
                            place = trailing_zeros(near)
                            near &= near - uint64(1)
                            row = block + unit * UNIT_ROWS + 64 * lane + int64(place)
                            distance = 0
                            for counter in range(n_counters):
                                bit = (found[1 + counter, lane] >> place) & uint64(1)
                                distance |= int64(bit) << counter
                            if distance >= bounds[query] or row >= n_rows:
                                continue
                            if alive.shape[0] == 0 or alive[row]:
                                take(
                                    query, distance, first_row + row, top_k,
                                    counts, bounds, n_below, n_held, distances, rows,
                                )  # fmt: skip

    return scan_planes


_SCANNERS = {n_counters: _scanner(n_counters) for n_counters in (5, 7, 9, 11)}
