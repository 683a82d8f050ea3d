"""Checks whether an index belongs to the rows of a database."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes, code_size
from hashkit.codesets import CodeDatabase, check_database
from hashkit.errors import CodesError
from hashkit.multi_index.header import IndexHeader
from hashkit.rows_digest import codes_digest

__all__ = ["DigestedCodes", "IndexedRows", "digested", "is_same_memory", "is_start_of", "mismatch"]

_COMPARED_BYTES: Final = 4 << 20


@runtime_checkable
class DigestedCodes(Protocol):
    """Codes that have a digest of their first rows, such as those of a bank."""

    @property
    def identity(self) -> str:
        """Identity of the bank; empty if there is none."""
        ...

    @property
    def row_generation(self) -> int:
        """How often the bank's rows have changed; 0 if unknown."""
        ...

    @property
    def codes(self) -> NDArray[np.uint8]:
        """uint8 [n, size]."""
        ...

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""
        ...

    def rows_digest(self, n_rows: int | None = None) -> str:
        """Digest of the first ``n_rows`` rows, by default of all."""
        ...


IndexedRows: TypeAlias = DigestedCodes | CodeDatabase | NDArray[np.uint8]
"""A bank, a code set, or packed codes uint8 [n, size]."""


@dataclasses.dataclass(frozen=True)
class _CodesInMemory:
    codes: NDArray[np.uint8]
    n_bits: int
    identity: str = ""
    row_generation: int = 0

    def rows_digest(self, n_rows: int | None = None) -> str:
        return codes_digest(self.codes[:n_rows], self.n_bits)


def digested(database: IndexedRows, n_bits: int | None) -> DigestedCodes:
    """The codes of a database, with their digest.

    Raises
    ------
    CodesError
        If the number of bits of an array is unknown, or differs from the database's.
    """
    if isinstance(database, np.ndarray):
        if n_bits is None:
            raise CodesError("the number of bits of an array of codes is unknown: give `n_bits`")
        if database.dtype != np.uint8 or database.ndim != 2:
            check_codes(database, n_bits, "database codes")
        return _CodesInMemory(database, n_bits)
    check_database(database)
    if n_bits not in (None, database.n_bits):
        raise CodesError(f"expected a database of {n_bits} bits, found {database.n_bits} bits")
    if isinstance(database, DigestedCodes):
        return database
    return _CodesInMemory(database.codes, database.n_bits)


def mismatch(header: IndexHeader, rows: DigestedCodes) -> str | None:
    """Why an index was not built from the first rows of a database; None if it was."""
    codes = rows.codes
    has_size = codes.ndim == 2 and codes.shape[1] == code_size(header.n_bits)
    if not has_size or rows.n_bits != header.n_bits:
        return f"it was built for codes of {header.n_bits} bits, not for these"
    is_other_bank = bool(rows.identity) and header.bank_identity not in ("", rows.identity)
    change = (
        "the bank was made again since then" if is_other_bank else "rows were changed since then"
    )
    if len(codes) < header.n_rows:
        return f"it was built for {header.n_rows} codes, but there are {len(codes)}: {change}"
    if rows.rows_digest(header.n_rows) != header.rows_digest:
        return f"it was built for other codes: {change}"
    return None


def is_start_of(own: NDArray[np.uint8], parts: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether codes, uint8 [m, size], are the first rows of several parts, uint8 [n_i, size].

    Codes at the same place in memory, such as those of one open bank, are not compared.
    """
    first = 0
    for part in parts:
        mine = own[first : first + len(part)]
        if not _are_equal(mine, part[: len(mine)]):
            return False
        first += len(part)
    return first >= len(own)


def is_same_memory(own: NDArray[np.uint8], part: NDArray[np.uint8]) -> bool:
    """Whether codes, uint8 [m, size], are the first rows of ``part`` in memory."""
    places = [array.__array_interface__["data"][0] for array in (own, part)]
    return len(own) <= len(part) and places[0] == places[1] and own.strides == part.strides


def _are_equal(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> bool:
    if left.shape != right.shape:
        return False
    rows = max(1, _COMPARED_BYTES // max(left.shape[1], 1))
    return is_same_memory(left, right) or all(
        left[start : start + rows].tobytes() == right[start : start + rows].tobytes()
        for start in range(0, len(left), rows)
    )
