"""One or several databases searched as one, with consecutive row numbers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, check_bits, check_database
from hashkit.errors import CodesError

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


@dataclasses.dataclass(frozen=True)
class Shards:
    """The codes of one or several databases, and which of their rows are searched.

    Attributes
    ----------
    codes
        uint8 [n_i, ceil(n_bits / 8)] of each database.
    n_bits
        Number of bits of a code.
    offsets
        int64 [len(codes) + 1]: the rows of database i are ``offsets[i]`` to ``offsets[i + 1]``.
    kept
        For each database bool [n_i], the rows to search: neither deleted nor excluded by `where`;
        or None for all rows.
    """

    codes: tuple[NDArray[np.uint8], ...]
    n_bits: int
    offsets: NDArray[np.int64]
    kept: tuple[NDArray[np.bool_] | None, ...]

    @classmethod
    def of(cls, database: Database, n_bits: int | None = None) -> Shards:
        """Shards of a database; deleted rows are not kept.

        Raises
        ------
        CodesError
            If databases have different numbers of bits, or the number is unknown.
        """
        if isinstance(database, np.ndarray):
            if n_bits is None:
                raise CodesError(
                    "the number of bits of an array of codes is unknown: give `n_bits`"
                )
            codes = np.ascontiguousarray(check_codes(database, n_bits, "database codes"))
            return cls._joined([codes], [None], n_bits)
        databases = database if isinstance(database, Sequence) else [database]
        if isinstance(database, str | bytes):
            check_database(database)
        n_bits = check_bits(databases, n_bits)
        kept = [None if one.deleted is None else ~one.deleted for one in databases]
        return cls._joined([np.ascontiguousarray(one.codes) for one in databases], kept, n_bits)

    @classmethod
    def _joined(
        cls,
        codes: Sequence[NDArray[np.uint8]],
        kept: Sequence[NDArray[np.bool_] | None],
        n_bits: int,
    ) -> Shards:
        lengths = [len(one) for one in codes]
        offsets = np.array([0, *itertools.accumulate(lengths)], dtype=np.int64)
        return cls(tuple(codes), n_bits, offsets, tuple(kept))

    def __len__(self) -> int:
        """Number of rows, kept or not."""
        return int(self.offsets[-1])

    @property
    def n_kept(self) -> int:
        """Number of rows to search."""
        if len(self.kept) == 1 and self.kept[0] is None:
            return len(self.codes[0])
        pairs = zip(self.codes, self.kept, strict=True)
        return sum(len(c) if k is None else int(np.count_nonzero(k)) for c, k in pairs)

    def where(self, chosen: NDArray[np.bool_]) -> Shards:
        """The same shards, keeping only the rows that are also in ``chosen``, bool [n]."""
        parts = [chosen[first:stop] for first, stop in self._ranges()]
        kept = tuple(
            part if before is None else part & before
            for part, before in zip(parts, self.kept, strict=True)
        )
        return dataclasses.replace(self, kept=kept)

    def between(self, first: int, stop: int) -> Shards:
        """The databases ``first`` to ``stop`` (exclusive), their rows numbered from 0."""
        return self._joined(self.codes[first:stop], self.kept[first:stop], self.n_bits)

    def behind(self, n_rows: int) -> Shards:
        """The rows behind the first ``n_rows``, numbered from 0, without copying them."""
        starts = [max(n_rows - begin, 0) for begin, _ in self._ranges()]
        codes = [one[start:] for one, start in zip(self.codes, starts, strict=True)]
        kept = [
            None if one is None else one[start:]
            for one, start in zip(self.kept, starts, strict=True)
        ]
        return self._joined(codes, kept, self.n_bits)

    def spans(self, first: int = 0, stop: int | None = None, rows: int = 1 << 62) -> Iterator[Span]:
        """Yield the rows ``first`` to ``stop`` in spans of one database and at most ``rows``."""
        stop = len(self) if stop is None else stop
        for number, (begin, end) in enumerate(self._ranges()):
            for start in range(max(first, begin), min(stop, end), rows):
                own = slice(start - begin, min(start + rows, stop, end) - begin)
                kept = self.kept[number]
                yield Span(start, self.codes[number][own], None if kept is None else kept[own])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes of rows in any order, uint8 [m, size]."""
        codes = np.empty((len(rows), self.codes[0].shape[1]), dtype=np.uint8)
        which = np.searchsorted(self.offsets, rows, side="right") - 1
        for number, own_codes in enumerate(self.codes):
            own = which == number
            codes[own] = own_codes[rows[own] - self.offsets[number]]
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
