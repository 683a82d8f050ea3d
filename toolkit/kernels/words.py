"""Reads rows of packed codes as words of 8 bytes, at any alignment and code length.

Word w of a row is its bytes 8w to 8w + 7, little-endian; bytes past the end of the row are masked.
Reading a word may touch up to 7 bytes past the row. So the last rows of an array, where the memory
may end, are read with `code_word`, which is slower but stays within the row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from hashkit.kernels.bits import load_byte, load_word, popcount
from hashkit.kernels.compiling import inlined, inner_kernel, kernel

__all__ = [
    "chunk_distances",
    "code_distance",
    "code_word",
    "distance_to",
    "last_mask",
    "n_safe_rows",
    "row_words",
]

_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@inner_kernel
def n_safe_rows(n_rows: int, size: int) -> int:
    """Number of leading rows of ``size`` bytes that can be read as whole words."""
    overhang = -size % 8
    if overhang == 0:
        return n_rows
    return max(0, n_rows - (overhang + size - 1) // size)


@inlined
def last_mask(size: int) -> int:
    """The bits that belong to a row in the last word of ``size`` bytes."""
    return _FULL >> uint64((-size % 8) * 8)


# Takes an address, not the array: passing an array on costs a reference count each time.
@inner_kernel
def code_word(code: Any, size: int, word: int) -> Any:
    """Bytes ``8 * word`` to ``8 * word + 7`` of the code at an address; 0 past its end.

    The first byte is the lowest. Nothing outside the ``size`` bytes of the code is read, as it may
    be the last one of a mapped file.
    """
    start = word * 8
    missing = start + 8 - size
    if missing <= 0:
        return load_word(code + np.uint64(start))
    if size >= 8:
        return load_word(code + np.uint64(size - 8)) >> np.uint64(8 * missing)
    value = np.uint64(0)
    for byte in range(size):
        value |= load_byte(code + np.uint64(byte)) << np.uint64(8 * byte)
    return value


@kernel
def row_words(codes: Any) -> Any:
    """All words of ``codes``, uint8 [n, size], C-contiguous, as uint64 [n, ceil(size / 8)]."""
    n_rows, size = codes.shape
    address = uint64(codes.ctypes.data)
    words = np.empty((n_rows, (size + 7) // 8), np.uint64)
    for row in range(n_rows):
        for word in range(words.shape[1]):
            words[row, word] = code_word(address + uint64(row * size), size, word)
    return words


@inner_kernel
def distance_to(code: int, size: int, query: Any) -> int:
    """Distance, in bits, between the code at an address and a query's words, uint64 [n_words].

    Reads only the code's own bytes; see `code_word`.
    """
    total = uint64(0)
    for word in range(query.shape[0]):
        total += popcount(code_word(code, size, word) ^ query[word])
    return int64(total)


@inlined
def code_distance(code: int, size: int, words: int) -> int:
    """Distance, in bits, between the code and the query's words at two addresses."""
    total = uint64(0)
    n_full = size >> 3
    for word in range(n_full):
        offset = uint64(8 * word)
        total += popcount(load_word(code + offset) ^ load_word(words + offset))
    if size & 7:
        last = code_word(code, size, n_full)
        total += popcount(last ^ load_word(words + uint64(8 * n_full)))
    return int64(total)


@inlined
def chunk_distances(address: int, n_rows: int, size: int, mask: int, words: Any, out: Any) -> None:
    """Distances, in bits, between the rows from ``address`` on and a query's words."""
    n_full = words.shape[0] - 1
    last = words[n_full]
    for row in range(n_rows):
        out[row] = popcount((load_word(address + uint64(row * size + 8 * n_full)) & mask) ^ last)
    for number in range(n_full):
        word = words[number]
        for row in range(n_rows):
            out[row] += popcount(load_word(address + uint64(row * size + 8 * number)) ^ word)
