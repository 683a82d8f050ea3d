"""One or several databases searched as one, with consecutive row numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, check_database, check_one_model, codes_of_all
from hashkit.errors import CodesError
from hashkit.inputs.sizes import checked_n_bits
from hashkit.kernels.arrays import read_only

__all__ = ["Database", "Shards", "Span"]

Database: TypeAlias = CodeDatabase | Sequence[CodeDatabase] | NDArray[np.uint8]
"""A bank or code set, several of them, or packed codes uint8 [n, size] (with ``n_bits=``)."""


class Span(NamedTuple):
    """Consecutive rows of one database.

    Attributes
    ----------
    first
        Number of the first row.
    codes
        uint8 [rows, size].
    kept
        bool [rows], the rows to search; None for all.
    """

    first: int
    codes: NDArray[np.uint8]
    kept: NDArray[np.bool_] | None


class Shards:
    """The codes of one or several databases, and which of their rows are searched.

    It does not change. It is not a frozen dataclass, because every search of an array makes one,
    and that would take three times as long.

    Parameters
    ----------
    codes
        uint8 [n_i, ceil(n_bits / 8)] of each database.
    n_bits
        Number of bits of a code.
    kept
        For each database bool [n_i], the rows to search: neither deleted nor excluded by `where`;
        or None for all rows.

    Attributes
    ----------
    codes, n_bits, kept
        The parameters; codes are contiguous and read-only.
    offsets
        int64 [len(codes) + 1]: the rows of database i are ``offsets[i]`` to ``offsets[i + 1]``.
    n_rows, n_kept
        Number of rows, and of those to search.
    """

    def __init__(
        self,
        codes: Sequence[NDArray[np.uint8]],
        n_bits: int,
        kept: Sequence[NDArray[np.bool_] | None],
    ) -> None:
        n_rows = n_kept = 0
        own_codes, offsets = [], [0]
        for part, kept_of_part in zip(codes, kept, strict=True):
            own_codes.append(read_only(np.ascontiguousarray(part)))
            n_rows += len(part)
            n_kept += len(part) if kept_of_part is None else int(np.count_nonzero(kept_of_part))
            offsets.append(n_rows)
        self.codes = tuple(own_codes)
        self.n_bits = n_bits
        self.offsets = np.array(offsets, np.int64)
        self.kept = tuple(kept)
        self.n_rows, self.n_kept = n_rows, n_kept

    @classmethod
    def of(cls, database: Database, n_bits: int | None = None) -> Shards:
        """Shards of a database; deleted rows are not kept.

        The shards of an open bank or bank set, which never changes, are made only once.

        Raises
        ------
        BankError
            If a bank is closed, or its file was cut off or overwritten.
        BankMismatchError
            If banks were made by different models.
        CodesError
            If databases have different numbers of bits, or the number is unknown.
        """
        derived: dict[str, Any] | None = getattr(database, "derived", None)
        if derived is None or n_bits is not None:
            return cls._made(database, n_bits)
        database.check()  # type: ignore[union-attr]
        found: Shards | None = derived.get("shards")
        if found is None:
            found = derived["shards"] = cls._made(database, None)
        return found

    @classmethod
    def _made(cls, database: Database, n_bits: int | None) -> Shards:
        if isinstance(database, np.ndarray):
            if n_bits is None:
                raise CodesError(
                    "the number of bits of an array of codes is unknown: give `n_bits`"
                )
            n_bits = checked_n_bits(n_bits)
            return cls([check_codes(database, n_bits, "database codes")], n_bits, [None])
        databases: Any = database
        if hasattr(database, "codes") or not isinstance(database, Sequence):
            databases = [database]
        elif isinstance(databases, str | bytes):
            check_database(databases)
        codes, n_bits = codes_of_all(databases, n_bits)
        check_one_model(databases)
        deleted = [part.deleted for part in databases]
        return cls(codes, n_bits, [None if part is None else ~part for part in deleted])

    def __len__(self) -> int:
        """Number of rows, kept or not."""
        return self.n_rows

    def where(self, chosen: NDArray[np.bool_]) -> Shards:
        """The same shards, keeping only the rows that are also in ``chosen``, bool [n]."""
        parts = [chosen[first:stop] for first, stop in self._ranges()]
        kept = [
            part if before is None else part & before
            for part, before in zip(parts, self.kept, strict=True)
        ]
        return Shards(self.codes, self.n_bits, kept)

    def between(self, first: int, stop: int) -> Shards:
        """The databases ``first`` to ``stop`` (exclusive), their rows numbered from 0."""
        return Shards(self.codes[first:stop], self.n_bits, self.kept[first:stop])

    def after(self, n_rows: int) -> Shards:
        """The rows after the first ``n_rows``, numbered from 0, without copying them."""
        starts = [max(n_rows - begin, 0) for begin, _ in self._ranges()]
        codes = [part[start:] for part, start in zip(self.codes, starts, strict=True)]
        kept = [
            None if part is None else part[start:]
            for part, start in zip(self.kept, starts, strict=True)
        ]
        return Shards(codes, self.n_bits, kept)

    def spans(self, first: int = 0, stop: int | None = None, rows: int = 1 << 62) -> Iterator[Span]:
        """Yield the rows ``first`` to ``stop`` in spans of one database and at most ``rows``."""
        stop = len(self) if stop is None else stop
        for number, (begin, end) in enumerate(self._ranges()):
            for start in range(max(first, begin), min(stop, end), rows):
                local = slice(start - begin, min(start + rows, stop, end) - begin)
                kept = self.kept[number]
                yield Span(start, self.codes[number][local], None if kept is None else kept[local])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of rows in any order, uint8 [m, size]."""
        codes = np.empty((len(rows), self.codes[0].shape[1]), dtype=np.uint8)
        shard_of_row = np.searchsorted(self.offsets, rows, side="right") - 1
        for number, own_codes in enumerate(self.codes):
            is_own = shard_of_row == number
            codes[is_own] = own_codes[rows[is_own] - self.offsets[number]]
        return codes

    def kept_mask(self) -> NDArray[np.bool_] | None:
        """The rows to search as a mask, bool [n]; None for all."""
        if all(one is None for one in self.kept):
            return None
        pairs = zip(self.codes, self.kept, strict=True)
        return np.concatenate([np.ones(len(c), np.bool_) if k is None else k for c, k in pairs])

    def kept_rows(self) -> NDArray[np.int64]:
        """Numbers of the rows to search, int64, ascending."""
        parts = [
            np.arange(first, stop) if kept is None else first + np.flatnonzero(kept)
            for (first, stop), kept in zip(self._ranges(), self.kept, strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)

    def _ranges(self) -> list[tuple[int, int]]:
        starts = self.offsets.tolist()
        return list(itertools.pairwise(starts))
