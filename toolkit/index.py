"""Exact search: the rows of one or several databases nearest to each query.

Results are ordered by (distance, row) always: by distance, and rows at the same distance by row
number, whatever the block size and however many databases hold the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase
from hashkit.errors import CodesError, ConfigError
from hashkit.hamming import BLOCK_ROWS, Block, RowDistances, blocks

__all__ = ["Database", "Neighbours", "Ranking", "Shards", "search"]

Database: TypeAlias = CodeDatabase | Sequence[CodeDatabase] | NDArray[np.uint8]
"""A bank or code set, several of them, or packed codes uint8 [n, size] (with ``n_bits=``)."""


@dataclasses.dataclass(frozen=True)
class Shards:
    """The codes of one or several databases, their rows numbered one after the other.

    Attributes
    ----------
    codes
        uint8 [n_i, ceil(n_bits / 8)] of each database.
    n_bits
        Bits of a code.
    offsets
        int64 [len(codes) + 1]: the rows of database i are ``offsets[i]`` to ``offsets[i + 1]``.
    """

    codes: tuple[NDArray[np.uint8], ...]
    n_bits: int
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, database: Database, n_bits: int | None = None) -> Shards:
        """Shards of a database.

        Raises
        ------
        CodesError
            If the codes are not of one number of bits, or that number is not known.
        """
        if isinstance(database, np.ndarray):
            if n_bits is None:
                raise CodesError("an array of codes does not say how many bits it has: pass n_bits")
            return cls._joined([check_codes(database, n_bits, "database codes")], n_bits)
        databases = database if isinstance(database, Sequence) else [database]
        if not databases:
            raise CodesError("expected at least one database, found none")
        n_bits = databases[0].n_bits if n_bits is None else n_bits
        for one in databases:
            if one.n_bits != n_bits:
                raise CodesError(f"expected a database of {n_bits} bits, found {one.n_bits} bits")
            # Whoever made the database checked its padding; its pages are not read for it again.
            check_codes(one.codes[:0], n_bits, "database codes")
        return cls._joined([one.codes for one in databases], n_bits)

    @classmethod
    def _joined(cls, codes: Sequence[NDArray[np.uint8]], n_bits: int) -> Shards:
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in codes])]).astype(np.int64)
        return cls(tuple(codes), n_bits, offsets)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def blocks(self, block_rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows in order, in pieces of at most ``block_rows``: (first row, codes)."""
        for start, codes in zip(self.offsets, self.codes, strict=False):
            yield from blocks(codes, block_rows, int(start))


@dataclasses.dataclass(frozen=True)
class Ranking:
    """The nearest rows of each query, the same number for all.

    Attributes
    ----------
    distances
        uint16 [q, k], Hamming distances in bits, ascending.
    rows
        int64 [q, k], ascending among equal distances.
    offsets
        int64 [n_databases + 1], the first row of each database.
    """

    distances: NDArray[np.uint16]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def locate(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the rows are: (database, row in it), both int64 [q, k]."""
        return _locate(self.rows, self.offsets)


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The rows near each query, as many as there are.

    Attributes
    ----------
    offsets
        int64 [q + 1]: query i has entries ``offsets[i]`` to ``offsets[i + 1]``.
    distances
        uint16 [m], Hamming distances in bits, ascending within a query.
    rows
        int64 [m], ascending among equal distances of a query.
    database_offsets
        int64 [n_databases + 1], the first row of each database.
    """

    offsets: NDArray[np.int64]
    distances: NDArray[np.uint16]
    rows: NDArray[np.int64]
    database_offsets: NDArray[np.int64]

    def locate(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the rows are: (database, row in it), both int64 [m]."""
        return _locate(self.rows, self.database_offsets)


def _locate(
    rows: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    which = np.searchsorted(offsets, rows, side="right") - 1
    return which, rows - offsets[which]


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int,
    radius: None = None,
    n_bits: int | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Ranking: ...


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int,
    n_bits: int | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Neighbours: ...


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int | None = None,
    n_bits: int | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Ranking | Neighbours: ...


def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int | None = None,
    n_bits: int | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Ranking | Neighbours:
    """Find the nearest rows of each query: exactly, ordered by (distance, row).

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)].
    database
        A bank or code set; a sequence of them, whose rows are numbered in the order given; or
        packed codes, uint8 [n, ceil(n_bits / 8)].
    top_k
        Rows wanted for each query, 0 or more; all of them where the database has fewer.
    radius
        Largest distance wanted, in bits, 0 or more.
    n_bits
        Bits of a code: needed for an array, checked against a bank.
    block_rows
        Database rows compared at a time. The result does not depend on it. Memory is that of
        a block and of the result, so it does not grow with the database.

    Returns
    -------
    Ranking or Neighbours
        `Ranking` for ``top_k`` alone; `Neighbours` with ``radius``, at most ``top_k`` a query if
        both are given.

    Raises
    ------
    CodesError
        If the codes of queries and database are not of one number of bits.
    ConfigError
        If neither ``top_k`` nor ``radius`` is given, or one is negative.
    """
    shards = Shards.of(database, n_bits)
    query_codes = check_codes(query_codes, shards.n_bits, "query codes")
    if top_k is None and radius is None:
        raise ConfigError("a search needs top_k or radius: neither was given")
    for name, value in (("top_k", top_k), ("radius", radius)):
        if value is not None and value < 0:
            raise ConfigError(f"{name} must be 0 or more, not {value}")
    limit = len(shards) if top_k is None else min(top_k, len(shards))
    reach = shards.n_bits if radius is None else min(radius, shards.n_bits)
    nearest = [_Nearest(limit, reach) for _ in query_codes]
    row_distances = RowDistances(query_codes)
    for first, block in shards.blocks(block_rows) if limit else ():
        row_distances.load(block)
        for query, found in enumerate(nearest):
            found.add(row_distances(query), first)
    results = [found.result() for found in nearest]
    distances = [distances for distances, _ in results]
    rows = [rows for _, rows in results]
    if radius is None:
        shape = (len(results), limit)
        return Ranking(
            np.array(distances, dtype=np.uint16).reshape(shape),
            np.array(rows, dtype=np.int64).reshape(shape),
            shards.offsets,
        )
    sizes = [len(one) for one in rows]
    return Neighbours(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([np.empty(0, np.uint16), *distances]),
        np.concatenate([np.empty(0, np.int64), *rows]),
        shards.offsets,
    )


class _Nearest:
    """The ``limit`` nearest rows of one query among those added so far.

    Rows come in ascending order, so a row that ties with the last one held comes too late: only
    rows below ``bound`` matter. Candidates gather until there are as many again as are wanted,
    and are sorted then, so that each is sorted a bounded number of times. ``limit`` is 1 or more
    where rows are added.
    """

    def __init__(self, limit: int, reach: int) -> None:
        self._limit = limit
        self._bound = reach + 1
        self._distances: list[NDArray[Any]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._n_gathered = 0

    def add(self, distances: NDArray[Any], first: int) -> None:
        """Consider rows ``first``, ``first + 1``, ... at ``distances``, uint8 or uint16 [rows]."""
        rows = np.flatnonzero(distances < self._bound)
        if not len(rows):
            return
        near = distances[rows]
        if len(rows) > self._limit:
            # Within this block alone, no row beyond the distance of the limit-th can remain.
            counts = np.cumsum(np.bincount(near))
            kept = near <= np.searchsorted(counts, self._limit)
            rows, near = rows[kept], near[kept]
        self._distances.append(near)
        self._rows.append(rows + first)
        self._n_gathered += len(rows)
        if self._n_gathered >= self._limit:
            self._settle()
            self._bound = int(self._distances[0][-1])

    def _settle(self) -> None:
        distances, rows = self._joined()
        order = np.argsort(distances, kind="stable")[: self._limit]
        self._distances, self._rows = [distances[order]], [rows[order]]
        self._n_gathered = 0

    def _joined(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        # uint8 and uint16 candidates never mix; an empty result still has a type.
        if not self._rows:
            return np.empty(0, np.uint16), np.empty(0, np.int64)
        return np.concatenate(self._distances), np.concatenate(self._rows)

    def result(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Distances and rows of what was kept, ordered."""
        self._settle()
        distances, rows = self._joined()
        return distances.astype(np.uint16), rows
