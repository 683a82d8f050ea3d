"""The digest of codes: it ties an index, or the manifest of a bank set, to its rows."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "codes_digest", "rows_digest"]

BLOCK_ROWS: Final = 65_536
"""Rows that share a checksum; part of the bank format, docs/bank-format.md."""


def rows_digest(n_bits: int, n_rows: int, checksums: Iterable[int]) -> str:
    """Hexadecimal SHA-256 of a number of bits and rows, and of the checksums of the codes.

    Parameters
    ----------
    checksums
        CRC-32 of the codes of each whole block of `BLOCK_ROWS` rows, and of the rows after them.
    """
    hasher = hashlib.sha256(struct.pack("<QQ", n_bits, n_rows))
    hasher.update(np.fromiter(checksums, dtype="<u4").tobytes())
    return hasher.hexdigest()


def codes_digest(codes: NDArray[np.uint8], n_bits: int) -> str:
    """Digest of codes in memory, uint8 [n, size]; reads them all, half a second per gigabyte."""
    n_whole = len(codes) // BLOCK_ROWS
    blocks = (codes[i * BLOCK_ROWS : (i + 1) * BLOCK_ROWS] for i in range(n_whole + 1))
    return rows_digest(n_bits, len(codes), map(_checksum, blocks))


def _checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)
