"""Reads the entropy-coded data of a JPEG scan, only to tell whether it is whole.

ITU-T T.81, annexes F (sequential) and G (progressive), Huffman coding. A decoder that meets damage
carries on: the codes that follow are out of step, but most of them are valid. What shows the damage
is that the blocks and the data do not end together.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hashkit.kernels.compiling import inner_kernel, kernel

__all__ = [
    "BAD_CODE", "ENDS_EARLY", "LEFT_OVER", "OUT_OF_RANGE", "REPEATED", "WHOLE", "read_scan",
]  # fmt: skip

WHOLE: Final = 0
BAD_CODE: Final = 1
ENDS_EARLY: Final = 2
LEFT_OVER: Final = 3
OUT_OF_RANGE: Final = 4
REPEATED: Final = 5

# State of a reader: the next bit, the bit after the last, blocks left that have no new
# coefficients, and what is wrong.
_BIT: Final = 0
_END: Final = 1
_EMPTY_BLOCKS: Final = 2
_ERROR: Final = 3

# The fields of `read_scan`'s ``scan``.
_N_MCUS: Final = 0
_PER_ROW: Final = 1
_INTERVAL: Final = 2
_FIRST: Final = 3
_LAST: Final = 4
_IS_REFINEMENT: Final = 5
_IS_PROGRESSIVE: Final = 6

# The current run of equal bytes, and its blocks with detail.
_RUN: Final = 0
_N_REPEATED: Final = 1

_MOST_REPEATED: Final = 4
"""Blocks with detail that a run of equal bytes may hold; a real picture has no more."""
_SHORT_BITS: Final = 16
"""Blocks of at most this many bits may repeat byte for byte in a picture, such as one of stripes,
unless the bytes are zeros: a block with detail has ones."""
_PADDING_BYTES: Final = 64
"""Fewer equal bytes than this may follow the last block: some cameras pad their files."""


@inner_kernel
def _take(data: Any, state: Any, n_bits: Any) -> Any:
    """The next bits, at most 16; after the end, 0 and an error."""
    bit = state[_BIT]
    if bit + n_bits > state[_END]:
        state[_ERROR] = ENDS_EARLY
        return np.int64(0)
    state[_BIT] = bit + n_bits
    at = bit >> 3
    word = (np.int64(data[at]) << 16) | (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
    return (word >> (24 - (bit & 7) - n_bits)) & ((np.int64(1) << n_bits) - 1)


@inner_kernel
def _symbol(data: Any, state: Any, table: Any) -> Any:
    """The next Huffman symbol."""
    bit = state[_BIT]
    if bit >= state[_END]:
        state[_ERROR] = ENDS_EARLY
        return np.int64(0)
    at = bit >> 3
    word = (np.int64(data[at]) << 16) | (np.int64(data[at + 1]) << 8) | np.int64(data[at + 2])
    entry = np.int64(table[(word >> (8 - (bit & 7))) & 0xFFFF])
    if entry == 0:
        state[_ERROR] = BAD_CODE
        return np.int64(0)
    if bit + (entry >> 8) > state[_END]:
        state[_ERROR] = ENDS_EARLY
        return np.int64(0)
    state[_BIT] = bit + (entry >> 8)
    return entry & 0xFF


@inner_kernel
def _difference(data: Any, state: Any, table: Any) -> Any:
    """Difference between the first coefficients of two blocks (T.81, F.2.2.1)."""
    size = _symbol(data, state, table)
    if size > 15:
        state[_ERROR] = BAD_CODE
        return np.int64(0)
    bits = _take(data, state, size)
    if size > 0 and bits < (np.int64(1) << (size - 1)):
        bits -= (np.int64(1) << size) - 1
    return bits


@inner_kernel
def _new_details(data: Any, state: Any, table: Any, first: Any, last: Any, known: Any) -> Any:
    """Read a block's coefficients; returns ``known`` with the bits of those that are not 0."""
    if state[_EMPTY_BLOCKS] > 0:
        state[_EMPTY_BLOCKS] -= 1
        return known
    k = first
    while k <= last:
        symbol = _symbol(data, state, table)
        run, size = symbol >> 4, symbol & 15
        if state[_ERROR]:
            return known
        if size == 0 and run < 15:
            state[_EMPTY_BLOCKS] = (np.int64(1) << run) - 1 + _take(data, state, run)
            return known
        k += run
        if k > last:
            state[_ERROR] = BAD_CODE
            return known
        if size > 0:
            _take(data, state, size)
            known |= np.uint64(1) << np.uint64(k)
        k += 1
    return known


@inner_kernel
def _corrections(data: Any, state: Any, first: Any, last: Any, old: Any, n_zeros: Any) -> Any:
    """Read a bit of each coefficient that was not 0; returns the place after ``n_zeros`` more."""
    k = first
    while k <= last:
        if (old >> np.uint64(k)) & np.uint64(1):
            _take(data, state, 1)
        elif n_zeros == 0:
            break
        else:
            n_zeros -= 1
        k += 1
    return k


@inner_kernel
def _refined_details(data: Any, state: Any, table: Any, first: Any, last: Any, known: Any) -> Any:
    """Read one more bit of a block's coefficients, and its new ones (T.81, figure G.7)."""
    old = known
    k = first
    while k <= last and state[_EMPTY_BLOCKS] == 0:
        symbol = _symbol(data, state, table)
        run, size = symbol >> 4, symbol & 15
        if size == 0 and run < 15:
            state[_EMPTY_BLOCKS] = (np.int64(1) << run) + _take(data, state, run)
            break
        _take(data, state, size)
        k = _corrections(data, state, k, last, old, run)
        if size > 0:
            if size > 1 or k > last:
                state[_ERROR] = BAD_CODE
            known |= np.uint64(1) << np.uint64(k & 63)
        if state[_ERROR]:
            return known
        k += 1
    if state[_EMPTY_BLOCKS] > 0:
        _corrections(data, state, k, last, old, last)
        state[_EMPTY_BLOCKS] -= 1
    return known


@inner_kernel
def _end_of_part(data: Any, state: Any) -> Any:
    """Whether the data between two restart marks ends with its last block."""
    if state[_EMPTY_BLOCKS]:
        return ENDS_EARLY
    start, end = (state[_BIT] + 7) >> 3, state[_END] >> 3
    if end - start >= _PADDING_BYTES:
        return LEFT_OVER
    for at in range(start + 1, end):
        if data[at] != data[start]:
            return LEFT_OVER
    return WHOLE


@inner_kernel
def _first_coefficient(
    data: Any, state: Any, scan: Any, block: Any, tables: Any, limits: Any, predicted: Any
) -> None:
    """Read a block's first coefficient, its mean."""
    if scan[_IS_REFINEMENT]:
        _take(data, state, 1)
        return
    component = block[0]
    predicted[component] += _difference(data, state, tables[block[1]])
    if abs(predicted[component]) > limits[component] and state[_ERROR] == WHOLE:
        state[_ERROR] = OUT_OF_RANGE


@inner_kernel
def _other_coefficients(
    data: Any, state: Any, scan: Any, block: Any, tables: Any, known: Any, mcu: Any
) -> Any:
    """Read a block's other coefficients; returns whether there are new ones that are not 0."""
    row, column = mcu // scan[_PER_ROW], mcu % scan[_PER_ROW]
    at = block[3] + (row * block[6] + block[8]) * block[4] + column * block[5] + block[7]
    old, table, first = known[at], tables[block[2]], max(scan[_FIRST], 1)
    if scan[_IS_REFINEMENT]:
        known[at] = _refined_details(data, state, table, first, scan[_LAST], old)
    else:
        known[at] = _new_details(data, state, table, first, scan[_LAST], old)
        if state[_EMPTY_BLOCKS] and not scan[_IS_PROGRESSIVE]:
            state[_ERROR] = BAD_CODE
    return known[at] != old


@inner_kernel
def _count_repeated(data: Any, runs: Any, seen: Any, start: Any, end: Any) -> None:
    """Count a block with detail whose bits ``start`` to ``end`` are all in a run of equal bytes."""
    while seen[_RUN] < len(runs) and runs[seen[_RUN], 1] <= (end >> 3):
        seen[_RUN] += 1
        seen[_N_REPEATED] = 0
    if seen[_RUN] < len(runs) and runs[seen[_RUN], 0] <= (start >> 3):
        is_short = data[start >> 3] != 0 and end - start <= _SHORT_BITS
        if not is_short:
            seen[_N_REPEATED] += 1


@kernel
def read_scan(
    data: Any, parts: Any, runs: Any, scan: Any, blocks: Any, tables: Any, limits: Any, known: Any
) -> Any:
    """Read a scan of 8-bit samples to its end.

    Parameters
    ----------
    data
        uint8 [n + 3], the scan without stuffed bytes and restart marks, and 3 bytes more.
    parts
        int64 [n_parts, 2], start and end of the data between restart marks.
    runs
        int64 [n_runs, 2], start and end of long runs of equal bytes, ascending.
    scan
        int64 [7]: MCUs, MCUs in a row, MCUs between restart marks (0: no marks), first and last
        coefficient, whether a refinement, whether progressive.
    blocks
        int64 [n, 9], for each block of an MCU: component, its tables for the first and for the
        other coefficients, where its blocks start in ``known``, how many of them are in a row,
        columns and rows of blocks in an MCU, column and row of this block.
    tables
        uint16 [n_tables, 65536], length * 256 + symbol of the code that 16 bits begin with; 0 if
        none does.
    limits
        int64 [n_components], largest magnitude of the first coefficient.
    known
        uint64 [n_blocks], bits of the coefficients that are not 0; changed.

    Returns
    -------
    int
        `WHOLE`, or what is wrong.
    """
    n_mcus, interval = scan[_N_MCUS], scan[_INTERVAL]
    state = np.zeros(4, np.int64)
    state[_BIT], state[_END] = parts[0, 0] * 8, parts[0, 1] * 8
    predicted = np.zeros(4, np.int64)
    seen = np.zeros(2, np.int64)
    part = 0
    for mcu in range(n_mcus):
        if interval > 0 and mcu > 0 and mcu % interval == 0:
            ending = _end_of_part(data, state)
            part += 1
            if ending != WHOLE or part >= len(parts):
                return ending if ending != WHOLE else ENDS_EARLY
            state[_BIT], state[_END] = parts[part, 0] * 8, parts[part, 1] * 8
            predicted[:] = 0
        for b in range(len(blocks)):
            start = state[_BIT]
            if scan[_FIRST] == 0:
                _first_coefficient(data, state, scan, blocks[b], tables, limits, predicted)
            if scan[_LAST] > 0:
                is_new = _other_coefficients(data, state, scan, blocks[b], tables, known, mcu)
                if is_new:
                    _count_repeated(data, runs, seen, start, state[_BIT])
            if seen[_N_REPEATED] > _MOST_REPEATED:
                return REPEATED
            if state[_ERROR]:
                return state[_ERROR]
    return LEFT_OVER if part + 1 < len(parts) else _end_of_part(data, state)
