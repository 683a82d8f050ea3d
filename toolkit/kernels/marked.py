"""Takes the rows that a comparison of many rows at once has marked."""

from __future__ import annotations

from typing import Any

from numba import int64, uint64

from hashkit.kernels.bits import trailing_zeros
from hashkit.kernels.compiling import inlined
from hashkit.kernels.selection import Selection, take
from hashkit.kernels.words import code_distance

__all__ = ["take_marked"]


@inlined
def take_marked(
    query: int,
    marked: int,
    start: int,
    stop: int,
    words: int,
    codes: Any,
    first_row: int,
    kept: Any,
    top_k: int,
    state: Selection,
) -> None:
    """Take those of 64 rows that were marked as near, in ascending order.

    Their distances are counted again: that takes less time than keeping those of all rows.

    Parameters
    ----------
    query
        Number of the query.
    marked
        Bit i stands for the row ``start + i`` of ``codes``; rows from ``stop`` on are ignored.
    words
        Address of the query's words.
    codes, first_row, kept, top_k, state
        See `hashkit.kernels.sliced`.
    """
    size = codes.shape[1]
    base = uint64(codes.ctypes.data)
    while marked:
        row = start + int64(trailing_zeros(marked))
        marked &= marked - uint64(1)
        if row >= stop:
            break
        if kept.shape[0] and not kept[row]:
            continue
        distance = code_distance(base + uint64(row * size), size, words)
        if distance < state.bounds[query]:
            take(query, distance, first_row + row, top_k, state)
