"""Exact search: the rows of one or several databases nearest to each query.

Results are ordered by (distance, row) always: by distance, and rows at the same distance by row
number. Neither the engine, nor the number of threads, nor how many databases hold the rows makes
a difference to them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.errors import ConfigError
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Neighbours, Ranking
from hashkit.retrieval.reranking import check_logits, rerank
from hashkit.retrieval.scan import scan
from hashkit.retrieval.shards import Database, Shards
from hashkit.threads import check_threads

__all__ = ["Engine", "search"]

Engine: TypeAlias = Literal["auto", "scan", "index"]

_ENGINES = get_args(Engine)

_GATHER_SHARE = 16
"""Where fewer than one row in this many counts, those rows are copied and searched alone."""


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int,
    radius: None = None,
    n_bits: int | None = None,
    where: NDArray[Any] | None = None,
    logits: NDArray[np.floating[Any]] | None = None,
    engine: Engine = "auto",
    index: MultiIndex | None = None,
    n_threads: int | None = None,
) -> Ranking: ...


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int,
    n_bits: int | None = None,
    where: NDArray[Any] | None = None,
    logits: NDArray[np.floating[Any]] | None = None,
    engine: Engine = "auto",
    index: MultiIndex | None = None,
    n_threads: int | None = None,
) -> Neighbours: ...


@overload
def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int | None = None,
    n_bits: int | None = None,
    where: NDArray[Any] | None = None,
    logits: NDArray[np.floating[Any]] | None = None,
    engine: Engine = "auto",
    index: MultiIndex | None = None,
    n_threads: int | None = None,
) -> Ranking | Neighbours: ...


def search(
    query_codes: NDArray[np.uint8],
    database: Database,
    *,
    top_k: int | None = None,
    radius: int | None = None,
    n_bits: int | None = None,
    where: NDArray[Any] | None = None,
    logits: NDArray[np.floating[Any]] | None = None,
    engine: Engine = "auto",
    index: MultiIndex | None = None,
    n_threads: int | None = None,
) -> Ranking | Neighbours:
    """Find the nearest rows of each query: exactly, ordered by (distance, row).

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)].
    database
        A bank or code set; a sequence of them, whose rows are numbered in the order given; or
        packed codes, uint8 [n, ceil(n_bits / 8)]. Rows that it has deleted are not found.
    top_k
        Rows wanted for each query, 0 or more; all of them where the database has fewer.
    radius
        Largest distance wanted, in bits, 0 or more.
    n_bits
        Bits of a code: needed for an array, checked against a bank.
    where
        The rows that may be found: bool [n], or row numbers, integer [m] in any order.
    logits
        The queries' logits, floating [q, n_bits]: rows at the same Hamming distance are then
        ordered by their asymmetric distance from the query, and by row where that is equal too
        (see `hashkit.retrieval.reranking`). Distances stay Hamming distances.
    engine
        ``scan`` compares every row; ``index`` uses the multi-index; ``auto`` uses it where its
        cost model says that it is faster.
    index
        Multi-index of the database, if there is one.
    n_threads
        Threads to search with; by default one a CPU.

    Returns
    -------
    Ranking or Neighbours
        `Ranking` for ``top_k`` alone; `Neighbours` with ``radius``, at most ``top_k`` a query if
        both are given. Memory is that of the result and of some megabytes, so that it does not
        grow with the database.

    Raises
    ------
    CodesError
        If the codes of queries and database are not of one number of bits, or the logits are
        not those of the queries.
    ConfigError
        If neither ``top_k`` nor ``radius`` is given, one is negative, ``where`` does not fit the
        database, or the engine ``index`` is asked for without an index.
    """
    shards = Shards.of(database, n_bits)
    query_codes = check_codes(query_codes, shards.n_bits, "query codes")
    _check_settings(top_k, radius, engine, index, len(shards))
    n_threads = check_threads(n_threads, "n_threads")
    if where is not None:
        shards = shards.where(_chosen(where, len(shards)))
    n_alive = shards.n_alive
    limit = n_alive if top_k is None else min(top_k, n_alive)
    reach = shards.n_bits if radius is None else min(radius, shards.n_bits)
    if logits is None:
        found = _find(query_codes, shards, limit, reach, engine, index, n_threads)
    else:
        logits = check_logits(logits, query_codes, shards.n_bits)
        reaches = np.full(len(query_codes), reach)
        if limit < n_alive:
            # Whoever ties with the last one wanted may take its place.
            nearest = _find(query_codes, shards, limit, reach, engine, index, n_threads)
            reaches = _last_distances(nearest, limit, reach)
        found = _scan(query_codes, shards, n_alive, reaches, n_threads)
        found = rerank(query_codes, logits, shards, found, limit)
    if radius is not None:
        return found
    shape = (len(query_codes), limit)
    return Ranking(found.distances.reshape(shape), found.rows.reshape(shape), shards.offsets)


def _check_settings(
    top_k: int | None, radius: int | None, engine: str, index: MultiIndex | None, n_rows: int
) -> None:
    if top_k is None and radius is None:
        raise ConfigError("a search needs top_k or radius: neither was given")
    for name, value in (("top_k", top_k), ("radius", radius)):
        if value is not None and value < 0:
            raise ConfigError(f"{name} must be 0 or more, not {value}")
    if engine not in _ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(_ENGINES)}, not {engine!r}")
    if engine == "index" and index is None:
        raise ConfigError("the engine 'index' needs an index: build one with MultiIndex.build")
    if index is not None and index.n_rows != n_rows:
        raise ConfigError(
            f"the index is of {index.n_rows} rows and the database has {n_rows}: build it anew"
        )


def _chosen(where: NDArray[Any], n_rows: int) -> NDArray[np.bool_]:
    """``where`` as bool [n_rows]."""
    where = np.asarray(where)
    if where.dtype == np.bool_ and where.shape == (n_rows,):
        return where
    if not np.issubdtype(where.dtype, np.integer) or where.ndim != 1:
        raise ConfigError(
            f"where must be bool [{n_rows}] or row numbers [m], "
            f"not {where.dtype} {list(where.shape)}"
        )
    if len(where) and not 0 <= where.min() <= where.max() < n_rows:
        raise ConfigError(
            f"where must name rows 0 to {n_rows - 1}, found {where.min()} to {where.max()}"
        )
    chosen = np.zeros(n_rows, dtype=np.bool_)
    chosen[where] = True
    return chosen


def _find(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    reach: int,
    engine: Engine,
    index: MultiIndex | None,
    n_threads: int,
) -> Neighbours:
    reaches = np.full(len(query_codes), reach)
    if engine == "scan" or index is None:
        return _scan(query_codes, shards, limit, reaches, n_threads)
    wanted = None if limit == shards.n_alive else limit
    if engine == "auto" and not index.predicts_gain(len(query_codes), radius=reach, top_k=wanted):
        return _scan(query_codes, shards, limit, reaches, n_threads)
    found = index.search(
        query_codes, radius=reach, top_k=wanted, alive=shards.alive_mask(), n_threads=n_threads
    )
    rows = Neighbours(found.offsets, found.distances, found.rows, shards.offsets)
    again = np.flatnonzero(found.given_up)
    if not len(again):
        return rows
    return rows.replaced(again, _scan(query_codes[again], shards, limit, reaches[again], n_threads))


def _scan(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    reaches: NDArray[np.int64],
    n_threads: int,
) -> Neighbours:
    if shards.n_alive * _GATHER_SHARE >= len(shards):
        return scan(query_codes, shards, limit, reaches, n_threads)
    rows = shards.alive_rows()
    found = scan(
        query_codes, Shards.of(shards.take(rows), shards.n_bits), limit, reaches, n_threads
    )
    return Neighbours(found.offsets, found.distances, rows[found.rows], shards.offsets)


def _last_distances(nearest: Neighbours, limit: int, reach: int) -> NDArray[np.int64]:
    """Distance of the last of ``limit`` rows of each query; ``reach`` where there are fewer."""
    sizes = np.diff(nearest.offsets)
    is_full = (sizes == limit) & (sizes > 0)
    reaches = np.full(len(sizes), reach)
    reaches[is_full] = nearest.distances[nearest.offsets[1:][is_full] - 1]
    return reaches
