"""Hamming distances between packed codes, in blocks that fit a CPU's cache.

Codes are stored as *planes* of machine words: uint [n_words, rows], the first word of every code,
then the second, and so on. A plane is contiguous, so exclusive-or and population count run over
long vectors. Codes of 1, 2, 4 or 8 bytes are views and need no copy. Bytes that pad the last word
are 0 on both sides and add nothing to a distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError

__all__ = [
    "BLOCK_ROWS",
    "Block",
    "RowDistances",
    "blocks",
    "distances",
    "planes",
]

BLOCK_ROWS: Final = 32_768
"""Database rows compared at a time: 256 KiB of 64-bit codes, which stay in a level-2 cache for all
queries. From 8,192 to 65,536 rows, times were within 10% of each other; above, sorting a block
becomes slower."""

Block: TypeAlias = tuple[int, NDArray[np.uint8]]
"""Row number of the first code, and packed codes uint8 [rows, size]."""


def blocks(
    codes: NDArray[np.uint8], block_rows: int = BLOCK_ROWS, start: int = 0
) -> Iterator[Block]:
    """Split ``codes``, uint8 [n, size], into consecutive blocks (row of the first code, codes).

    Parameters
    ----------
    block_rows
        Rows per block; the last block may have fewer.
    start
        Row number of the first code.

    Raises
    ------
    ValueError
        If ``block_rows`` is less than 1.
    """
    if block_rows < 1:
        raise ValueError(f"`block_rows` must be at least 1, not {block_rows}")
    for first in range(0, len(codes), block_rows):
        yield start + first, codes[first : first + block_rows]


def planes(codes: NDArray[np.uint8]) -> NDArray[np.unsignedinteger[Any]]:
    """Word planes of packed codes.

    Parameters
    ----------
    codes
        uint8 [n, size].

    Returns
    -------
    NDArray
        uint8, uint16, uint32 or uint64 [n_words, n], each plane contiguous; a view of ``codes``
        where one word holds a whole code.
    """
    n_rows, size = codes.shape
    word = 1 << min(3, (size - 1).bit_length())
    n_words = -(-size // word)
    if n_words * word != size:
        padded = np.zeros((n_rows, n_words * word), dtype=np.uint8)
        padded[:, :size] = codes
        codes = padded
    words = np.ascontiguousarray(codes).view(f"u{word}")
    return np.ascontiguousarray(words.T)


class RowDistances:
    """Distances between one query at a time and one block of codes.

    Parameters
    ----------
    query_codes
        uint8 [q, size].

    Raises
    ------
    CodesError
        If the codes are not a uint8 matrix.
    """

    def __init__(self, query_codes: NDArray[np.uint8]) -> None:
        self._size = _width(query_codes, "query codes")
        self._query_words = planes(query_codes)
        self._dtype = np.uint8 if self._size * 8 <= 255 else np.uint16
        self._block = self._query_words[:, :0]
        self._allocate(0)

    def load(self, database_codes: NDArray[np.uint8]) -> None:
        """Set ``database_codes``, uint8 [rows, size], as the block to compare with.

        Raises
        ------
        CodesError
            If the codes are not a uint8 matrix of the same width as the queries.
        """
        size = _width(database_codes, "database codes")
        if size != self._size:
            raise CodesError(
                f"query codes have {self._size} bytes and database codes {size}: "
                "both must have the same number of bits"
            )
        self._block = planes(database_codes)
        if len(database_codes) > len(self._words):
            self._allocate(len(database_codes))

    def _allocate(self, rows: int) -> None:
        self._words = np.empty(rows, dtype=self._query_words.dtype)
        self._counts = np.empty(rows, dtype=np.uint8)
        self._distances = np.empty(rows, dtype=self._dtype)

    def __call__(self, query: int) -> NDArray[Any]:
        """Distances from row ``query`` of the queries, uint8 or uint16 [rows].

        The next call overwrites the array.
        """
        n_words, rows = self._block.shape
        words, counts, total = self._words[:rows], self._counts[:rows], self._distances[:rows]
        for word in range(n_words):
            np.bitwise_xor(self._block[word], self._query_words[word, query], out=words)
            if word == 0 and self._dtype is np.uint8:
                np.bitwise_count(words, out=total)
                continue
            np.bitwise_count(words, out=counts)
            if word == 0:
                total[:] = counts
            else:
                np.add(total, counts, out=total)
        return total


def distances(
    query_codes: NDArray[np.uint8], database_codes: NDArray[np.uint8]
) -> NDArray[np.uint16]:
    """Hamming distance from every query to every database row.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, size].
    database_codes
        Packed codes of the same number of bits, uint8 [n, size].

    Returns
    -------
    NDArray
        uint16 [q, n].

    Raises
    ------
    CodesError
        If the codes are not uint8 matrices of the same width.
    """
    row_distances = RowDistances(query_codes)
    out = np.empty((len(query_codes), len(database_codes)), dtype=np.uint16)
    row_distances.load(database_codes[:0])
    for first, block in blocks(database_codes):
        row_distances.load(block)
        for query in range(len(query_codes)):
            out[query, first : first + len(block)] = row_distances(query)
    return out


def _width(codes: NDArray[np.uint8], what: str) -> int:
    if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.shape[1]:
        raise CodesError(f"{what} must be uint8 [n, bytes], not {codes.dtype} {list(codes.shape)}")
    return int(codes.shape[1])
