"""The tables of multi-index hashing: contents and construction.

Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
arXiv 1307.2982. A table lists the rows of the database by one substring of their codes. Besides
the row number, an entry has a *sketch*: 32 bits, the exclusive-or of the parts of the code outside
the substring. Two sketches differ in at most as many bits as those parts do. So a search rejects
most entries by their sketch, without reading their row number or code, which lie elsewhere in
memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashkit.kernels.bits import load_byte
from hashkit.kernels.compiling import inner_kernel, kernel
from hashkit.kernels.words import code_word

__all__ = ["Tables", "address_of", "count_rows", "place_rows", "sketch", "substring"]


class Tables(NamedTuple):
    """The database and its tables; every array is read-only and contiguous.

    Attributes
    ----------
    codes
        uint8 [n, size].
    offsets
        uint32 or uint64 [sum(2 ** lengths + 1)], for one table after the other: bucket b of a
        table has the entries ``offsets[b]`` to ``offsets[b + 1]``.
    rows
        uint32 or int64 [n_tables * n], row of each entry, ascending within a bucket.
    sketches
        uint32 [n_tables * n], sketch of each entry.
    offset_starts
        int64 [n_tables], where the offsets of each table begin.
    first_bits, lengths
        int64 [n_tables], first bit and length of each table's substring.
    masks
        uint64 [n_tables, n_words], the substring's bits in the words that `code_word` reads.
    """

    codes: NDArray[np.uint8]
    offsets: NDArray[np.unsignedinteger[Any]]
    rows: NDArray[np.integer[Any]]
    sketches: NDArray[np.uint32]
    offset_starts: NDArray[np.int64]
    first_bits: NDArray[np.int64]
    lengths: NDArray[np.int64]
    masks: NDArray[np.uint64]


@inner_kernel
def address_of(array: Any) -> Any:
    """Address of an array's first element."""
    return np.uint64(array.ctypes.data)


@inner_kernel
def substring(code: Any, first_bit: Any, length: Any) -> Any:
    """Bits ``first_bit`` to ``first_bit + length - 1`` of the code at an address, as a number.

    The first bit is the most significant.
    """
    last_byte = (first_bit + length - 1) >> 3
    value = np.uint64(0)
    for byte in range(first_bit >> 3, last_byte + 1):
        value = (value << np.uint64(8)) | load_byte(code + np.uint64(byte))
    value >>= np.uint64((last_byte + 1) * 8 - (first_bit + length))
    return np.int64(value & ((np.uint64(1) << np.uint64(length)) - np.uint64(1)))


@inner_kernel
def sketch(code: Any, size: int, mask: NDArray[np.uint64]) -> Any:
    """Exclusive-or of the 32-bit parts of the code at an address, without the bits of ``mask``."""
    folded = np.uint64(0)
    for word in range(len(mask)):
        folded ^= code_word(code, size, word) & ~mask[word]
    return np.uint32((folded ^ (folded >> np.uint64(32))) & np.uint64(0xFFFFFFFF))


@kernel
def count_rows(
    codes: NDArray[np.uint8], first: int, last: int, first_bit: int, length: int, counts: Any
) -> None:
    """Add the rows ``first`` to ``last`` (exclusive) to the row counts of the buckets."""
    address, size = address_of(codes), codes.shape[1]
    for row in range(first, last):
        bucket = substring(address + np.uint64(row * size), first_bit, length)
        counts[bucket] += counts.dtype.type(1)


@kernel
def place_rows(
    codes: NDArray[np.uint8],
    first: int,
    last: int,
    first_bit: int,
    length: int,
    mask: NDArray[np.uint64],
    free: Any,
    rows: Any,
    sketches: NDArray[np.uint32],
) -> None:
    """Put the rows ``first`` to ``last`` (exclusive) into their buckets.

    Parameters
    ----------
    mask
        uint64 [n_words], the table's mask.
    free
        uint32 or uint64 [2 ** length], the next free entry of each bucket; modified.
    rows, sketches
        The entries of the table, [n]; modified.
    """
    address, size = address_of(codes), codes.shape[1]
    for row in range(first, last):
        code = address + np.uint64(row * size)
        bucket = substring(code, first_bit, length)
        entry = free[bucket]
        free[bucket] = entry + free.dtype.type(1)
        rows[entry] = row
        sketches[entry] = sketch(code, size, mask)
