"""Rows of packed codes read as words of 8 bytes, wherever a row begins and however long it is.

Word w of a row is its bytes 8w to 8w + 7, little-endian; bytes past the row's end are masked away.
Reading them reaches up to 7 bytes past a row, so the last rows of an array, whose memory may end
right there, are read byte by byte instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, uint64

from hashkit.kernels.bits import load_word, popcount
from hashkit.kernels.compiling import inlined, kernel

__all__ = [
    "chunk_distances",
    "distance_to",
    "last_mask",
    "n_safe_rows",
    "row_words",
    "word_of",
]

_FULL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def n_safe_rows(n_rows: int, size: int) -> int:
    """How many rows of ``size`` bytes, from the first on, whole words can be read of."""
    overhang = -size % 8
    if overhang == 0:
        return n_rows
    return max(0, n_rows - (overhang + size - 1) // size)


@inlined
def last_mask(size: int) -> int:
    """The bits that belong to a row in the last word of ``size`` bytes."""
    return _FULL >> uint64((-size % 8) * 8)


@kernel
def word_of(codes: Any, row: int, word: int) -> int:
    """Word ``word`` of a row of ``codes``, uint8 [n, size], byte by byte."""
    value = uint64(0)
    for byte in range(min(8, codes.shape[1] - 8 * word)):
        value |= uint64(codes[row, 8 * word + byte]) << uint64(8 * byte)
    return value


@kernel
def row_words(codes: Any) -> Any:
    """All words of ``codes``, uint8 [n, size], as uint64 [n, ceil(size / 8)]."""
    words = np.empty((codes.shape[0], (codes.shape[1] + 7) // 8), np.uint64)
    for row in range(words.shape[0]):
        for word in range(words.shape[1]):
            words[row, word] = word_of(codes, row, word)
    return words


@kernel
def distance_to(codes: Any, row: int, query: Any) -> int:
    """Distance, in bits, of any row of ``codes`` from a query's words, uint64 [n_words]."""
    total = uint64(0)
    for word in range(query.shape[0]):
        total += popcount(word_of(codes, row, word) ^ query[word])
    return int64(total)


@inlined
def chunk_distances(address: int, n_rows: int, size: int, mask: int, words: Any, out: Any) -> None:
    """Distances, in bits, of the rows from ``address`` on from a query's words."""
    n_full = words.shape[0] - 1
    last = words[n_full]
    for row in range(n_rows):
        out[row] = popcount((load_word(address + uint64(row * size + 8 * n_full)) & mask) ^ last)
    for number in range(n_full):
        word = words[number]
        for row in range(n_rows):
            out[row] += popcount(load_word(address + uint64(row * size + 8 * number)) ^ word)
