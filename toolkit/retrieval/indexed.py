"""Searches with indexes, each for the first rows of a database, and scans all other rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError, IndexMismatchError
from hashkit.inputs.arguments import argument_shown
from hashkit.multi_index.binding import DigestedCodes
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.arguments import Engine
from hashkit.retrieval.merging import PartHits, merged
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.scan import last_distances, scan
from hashkit.retrieval.shards import Database, Shards

__all__ = ["Index", "IndexedRows", "checked_index", "find_nearest", "indexed_rows"]

Index: TypeAlias = MultiIndex | Sequence[MultiIndex | None]
"""An index of a database, or one for each of several databases, None where there is none."""


def checked_index(index: Any) -> Index | None:
    """The ``index`` of a search; raises `ConfigError` if it is of another type."""
    if index is None or isinstance(index, MultiIndex):
        return index
    if isinstance(index, Sequence) and not isinstance(index, str | bytes):
        indexes: Sequence[Any] = index
        if all(one is None or isinstance(one, MultiIndex) for one in indexes):
            return indexes
    raise ConfigError(
        "`index` must be a MultiIndex, or a list with one or None for each database, not "
        f"{argument_shown(index)}"
    )


@dataclasses.dataclass(frozen=True)
class IndexedRows:
    """Consecutive databases with one index for their first rows.

    Attributes
    ----------
    first, stop
        The databases ``first`` to ``stop`` (exclusive).
    index
        Their index.
    """

    first: int
    stop: int
    index: MultiIndex


def indexed_rows(index: Index | None, database: Database, shards: Shards) -> list[IndexedRows]:
    """The databases that have an index.

    Raises
    ------
    ConfigError
        If there are several indexes, but not as many as databases.
    IndexMismatchError
        If an index was not built from the first rows of its database.
    """
    if index is None:
        return []
    n_databases = len(shards.codes)
    if isinstance(index, MultiIndex):
        only = database[0] if n_databases == 1 and isinstance(database, Sequence) else database
        _check_index(index, only, shards)
        return [IndexedRows(0, n_databases, index)]
    if len(index) != n_databases:
        raise ConfigError(
            f"`index` must have one index, or None, for each of {n_databases} databases, found "
            f"{len(index)}"
        )
    databases = [database] if not isinstance(database, Sequence) else database
    found = []
    for number, (part, part_index) in enumerate(zip(databases, index, strict=True)):
        if part_index is not None:
            _check_index(part_index, part, shards.between(number, number + 1))
            found.append(IndexedRows(number, number + 1, part_index))
    return found


def find_nearest(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    radius: int,
    engine: Engine,
    indexed: Sequence[IndexedRows],
    n_threads: int | None,
) -> Neighbours:
    """The ``limit`` nearest rows of each query within a radius, by (distance, row)."""
    parts = []
    for indexed_rows in indexed:
        own_shards = (
            shards
            if len(indexed) == 1 and _covers_all(indexed_rows, shards)
            else shards.between(indexed_rows.first, indexed_rows.stop)
        )
        if own_shards.n_kept and (
            engine == "index"
            or _index_gains(indexed_rows.index, query_codes, own_shards.n_kept, limit, radius)
        ):
            parts.append((indexed_rows, own_shards, min(limit, own_shards.n_kept)))
    if not parts:
        radii = np.empty(len(query_codes), np.int64)
        radii.fill(radius)  # np.full takes a microsecond more
        return scan(query_codes, shards, limit, radii, n_threads)
    if len(parts) == 1 and parts[0][1] is shards:
        return _search(query_codes, shards, limit, radius, indexed[0].index, n_threads)
    found: list[tuple[int, PartHits]] = []
    for indexed_rows, own_shards, own_limit in parts:
        # Rows farther than the last of those found so far cannot be in the answer.
        reached = int(_useful_radii(found, shards, limit, radius, len(query_codes)).max(initial=0))
        near = _search(query_codes, own_shards, own_limit, reached, indexed_rows.index, n_threads)
        found.append((indexed_rows.first, PartHits.of(near)))
    for first, stop in _unindexed([indexed_rows for indexed_rows, *_ in parts], len(shards.codes)):
        reached_by = _useful_radii(found, shards, limit, radius, len(query_codes))
        own_shards = shards.between(first, stop)
        near = scan(query_codes, own_shards, limit, reached_by, n_threads)
        found.append((first, PartHits.of(near)))
    return _merged(found, shards, limit)


def _covers_all(indexed_rows: IndexedRows, shards: Shards) -> bool:
    return (indexed_rows.first, indexed_rows.stop) == (0, len(shards.codes))


def _index_gains(
    index: MultiIndex, query_codes: NDArray[np.uint8], n_kept: int, limit: int, radius: int
) -> bool:
    wanted = None if limit >= n_kept else limit
    return index.predicts_gain(len(query_codes), radius=radius, top_k=wanted)


def _search(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    radius: int,
    index: MultiIndex,
    n_threads: int | None,
) -> Neighbours:
    """The nearest rows, found by an index for the first rows and a scan of those after them."""
    radii = np.full(len(query_codes), radius)
    kept = shards.kept_mask()
    found = index.search(
        query_codes,
        radius=radius,
        top_k=None if limit == shards.n_kept else limit,
        kept=None if kept is None else kept[: index.n_rows],
        n_threads=n_threads,
    )
    if found.given_up.all():
        return scan(query_codes, shards, limit, radii, n_threads)
    rows = Neighbours(found.offsets, found.distances, found.rows, shards.offsets)
    if index.n_rows < len(shards):
        reached = last_distances(rows, limit, radius)
        added = scan(query_codes, shards.after(index.n_rows), limit, reached, n_threads)
        both = [(0, PartHits.of(rows)), (index.n_rows, PartHits.of(added))]
        rows = _by_row(both, shards, limit) if len(added.rows) else rows
    again = np.flatnonzero(found.given_up)
    if not len(again):
        return rows
    return rows.replaced(again, scan(query_codes[again], shards, limit, radii[again], n_threads))


def _useful_radii(
    found: Sequence[tuple[int, PartHits]], shards: Shards, limit: int, radius: int, n_queries: int
) -> NDArray[np.int64]:
    """Largest distance at which each query may still find rows, int64 [q]."""
    if not found:
        return np.full(n_queries, radius)
    return last_distances(_merged(found, shards, limit), limit, radius)


def _merged(found: Sequence[tuple[int, PartHits]], shards: Shards, limit: int) -> Neighbours:
    """Hits of groups of databases, each with the number of its first database."""
    in_order = sorted(found, key=lambda pair: pair[0])
    return _by_row([(int(shards.offsets[first]), hits) for first, hits in in_order], shards, limit)


def _by_row(parts: Sequence[tuple[int, PartHits]], shards: Shards, limit: int) -> Neighbours:
    """Hits of groups of rows, each with the number of its first row."""
    hits = merged([hits for _, hits in parts], [first for first, _ in parts], limit)
    return Neighbours(hits.offsets, hits.distances, hits.rows, shards.offsets)


def _unindexed(parts: Sequence[IndexedRows], n_databases: int) -> list[tuple[int, int]]:
    """Ranges of the databases that are in no part; the parts are in order."""
    starts = [0, *(one.stop for one in parts)]
    stops = [*(one.first for one in parts), n_databases]
    return [pair for pair in zip(starts, stops, strict=True) if pair[0] < pair[1]]


def _check_index(index: MultiIndex, database: object, shards: Shards) -> None:
    """Check that an index was built from the first rows of a database, given with its shards."""
    if len(shards) < index.n_rows:
        raise IndexMismatchError(
            f"expected an index of at most the database's {len(shards)} rows, found one of "
            f"{index.n_rows}: build it again"
        )
    digest = database.rows_digest if isinstance(database, DigestedCodes) else None
    if index.n_bits != shards.n_bits or not index.is_of(shards.codes, digest):
        raise IndexMismatchError(
            "expected an index of the database's first rows, found one of other codes: "
            "build it again"
        )
