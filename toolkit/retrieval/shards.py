"""One or several databases as one: their rows numbered one after the other."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, check_bits
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
    alive
        bool [rows]: the rows that count; None if all do.
    """

    first: int
    codes: NDArray[np.uint8]
    alive: NDArray[np.bool_] | None


@dataclasses.dataclass(frozen=True)
class Shards:
    """The codes of one or several databases, and which of their rows count.

    Attributes
    ----------
    codes
        uint8 [n_i, ceil(n_bits / 8)] of each database.
    n_bits
        Bits of a code.
    offsets
        int64 [len(codes) + 1]: the rows of database i are ``offsets[i]`` to ``offsets[i + 1]``.
    alive
        For each database bool [n_i], the rows that are neither deleted nor filtered out; or None
        where all count.
    """

    codes: tuple[NDArray[np.uint8], ...]
    n_bits: int
    offsets: NDArray[np.int64]
    alive: tuple[NDArray[np.bool_] | None, ...]

    @classmethod
    def of(cls, database: Database, n_bits: int | None = None) -> Shards:
        """Shards of a database; rows that it has deleted do not count.

        Raises
        ------
        CodesError
            If the codes are not of one number of bits, or that number is not known.
        """
        if isinstance(database, np.ndarray):
            if n_bits is None:
                raise CodesError("an array of codes does not say how many bits it has: pass n_bits")
            codes = np.ascontiguousarray(check_codes(database, n_bits, "database codes"))
            return cls._joined([codes], [None], n_bits)
        databases = database if isinstance(database, Sequence) else [database]
        n_bits = check_bits(databases, n_bits)
        alive = [None if one.deleted is None else ~one.deleted for one in databases]
        return cls._joined([np.ascontiguousarray(one.codes) for one in databases], alive, n_bits)

    @classmethod
    def _joined(
        cls,
        codes: Sequence[NDArray[np.uint8]],
        alive: Sequence[NDArray[np.bool_] | None],
        n_bits: int,
    ) -> Shards:
        lengths = [len(one) for one in codes]
        offsets = np.array([0, *itertools.accumulate(lengths)], dtype=np.int64)
        return cls(tuple(codes), n_bits, offsets, tuple(alive))

    def __len__(self) -> int:
        """Rows, whether they count or not."""
        return int(self.offsets[-1])

    @property
    def n_alive(self) -> int:
        """Rows that count."""
        if len(self.alive) == 1 and self.alive[0] is None:
            return len(self.codes[0])
        pairs = zip(self.codes, self.alive, strict=True)
        return sum(len(c) if a is None else int(np.count_nonzero(a)) for c, a in pairs)

    def where(self, chosen: NDArray[np.bool_]) -> Shards:
        """The same rows, of which only the ``chosen``, bool [n], count."""
        parts = [chosen[first:stop] for first, stop in self._bounds()]
        alive = tuple(
            part if had is None else part & had for part, had in zip(parts, self.alive, strict=True)
        )
        return dataclasses.replace(self, alive=alive)

    def spans(self, first: int = 0, stop: int | None = None, rows: int = 1 << 62) -> Iterator[Span]:
        """The rows ``first`` to ``stop`` in order, at most ``rows`` and one database at a time."""
        stop = len(self) if stop is None else stop
        for number, (begin, end) in enumerate(self._bounds()):
            for start in range(max(first, begin), min(stop, end), rows):
                own = slice(start - begin, min(start + rows, stop, end) - begin)
                alive = self.alive[number]
                yield Span(start, self.codes[number][own], None if alive is None else alive[own])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Codes, uint8 [m, size], of rows in any order."""
        codes = np.empty((len(rows), self.codes[0].shape[1]), dtype=np.uint8)
        which = np.searchsorted(self.offsets, rows, side="right") - 1
        for number, own_codes in enumerate(self.codes):
            own = which == number
            codes[own] = own_codes[rows[own] - self.offsets[number]]
        return codes

    def alive_mask(self) -> NDArray[np.bool_] | None:
        """Which of all rows count, bool [n]; None if all do."""
        if all(one is None for one in self.alive):
            return None
        pairs = zip(self.codes, self.alive, strict=True)
        return np.concatenate([np.ones(len(c), np.bool_) if a is None else a for c, a in pairs])

    def alive_rows(self) -> NDArray[np.int64]:
        """Numbers of the rows that count, int64, ascending."""
        parts = [
            np.arange(first, stop) if alive is None else first + np.flatnonzero(alive)
            for (first, stop), alive in zip(self._bounds(), self.alive, strict=True)
        ]
        return np.concatenate(parts).astype(np.int64)

    def _bounds(self) -> list[tuple[int, int]]:
        starts = self.offsets.tolist()
        return list(itertools.pairwise(starts))
