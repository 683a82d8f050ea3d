"""Exact search for the rows of one or several databases that are nearest to each query.

Results are always ordered by distance, and rows at the same distance by row number. They do not
depend on the engine, the number of threads or the number of databases that hold the rows.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.inputs.arguments import whole_number
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.arguments import Engine, check_oversample, check_settings, chosen_rows
from hashkit.retrieval.indexed import check_index, merged
from hashkit.retrieval.neighbours import Neighbours, Ranking, as_ranking
from hashkit.retrieval.reranking import check_logits, rerank, rescore
from hashkit.retrieval.scan import scan
from hashkit.retrieval.shards import Database, Shards
from hashkit.threads import check_threads

__all__ = ["Engine", "search"]

_GATHER_SHARE = 16
"""If fewer than one row in this many is kept, the kept rows are copied and searched alone."""


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
    oversample: int | None = None,
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
    oversample: int | None = None,
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
    oversample: int | None = None,
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
    oversample: int | None = None,
    engine: Engine = "auto",
    index: MultiIndex | None = None,
    n_threads: int | None = None,
) -> Ranking | Neighbours:
    """Find the nearest rows of each query exactly, ordered by (distance, row).

    Threads may search at the same time, one bank or several. `hashkit.warm_up` keeps the first
    searches of a service from being slower than the others.

    Parameters
    ----------
    query_codes
        Packed codes, uint8 [q, ceil(n_bits / 8)].
    database
        A bank or code set; a bank set, or a sequence of these, whose rows are numbered in the order
        given; or packed codes, uint8 [n, ceil(n_bits / 8)]. Deleted rows are not found.
    top_k
        Number of rows per query, 0 or more; all rows if the database has fewer.
    radius
        Largest distance, in bits, 0 or more.
    n_bits
        Number of bits of a code: required for an array, checked against a bank.
    where
        Rows to search: bool [n], or row numbers, integer [m], in any order.
    logits
        Logits of the queries, floating [q, n_bits]. If given, rows at the same Hamming distance
        are ordered by their asymmetric distance from the query, then by row (see
        `hashkit.retrieval.reranking`). The distances returned are still Hamming distances.
    oversample
        1 or more, with ``logits`` and ``top_k`` alone: the nearest ``oversample * top_k`` rows by
        (distance, row) are ordered by (asymmetric distance, distance, row), and the first ``top_k``
        returned. Each result takes 10 bytes times ``oversample`` while the search runs.
    engine
        ``scan`` compares every row; ``index`` uses the multi-index; ``auto`` uses the multi-index
        if its cost model predicts that it is faster.
    index
        Multi-index of the database's first rows, if there is one; the others are compared one by
        one.
    n_threads
        Number of threads; one per CPU by default.

    Returns
    -------
    Ranking or Neighbours
        `Ranking` if only ``top_k`` is given; `Neighbours` with ``radius``, at most ``top_k`` rows
        per query if both are given. Besides the result, a search takes a few megabytes of memory,
        whatever the size of the database.

    Raises
    ------
    CodesError
        If queries and database do not have the same number of bits, or the logits do not belong
        to the queries.
    IndexMismatchError
        If the index is of other codes.
    ConfigError
        If neither ``top_k`` nor ``radius`` is given, one is negative, ``where`` does not match the
        database, the engine is ``index`` but there is no index, or ``oversample`` is given without
        ``logits`` or with ``radius``.
    """
    shards = Shards.of(database, n_bits)
    query_codes = check_codes(query_codes, shards.n_bits, "query codes")
    top_k = None if top_k is None else whole_number(top_k, "top_k", 0)
    radius = None if radius is None else whole_number(radius, "radius", 0)
    check_settings(top_k, radius, engine, has_index=index is not None)
    oversample = check_oversample(oversample, logits is not None, radius)
    if index is not None and engine != "scan":
        check_index(index, database, shards)
    n_threads = check_threads(n_threads, "n_threads")
    if where is not None:
        shards = shards.where(chosen_rows(where, len(shards)))
    n_kept = shards.n_kept
    limit = n_kept if top_k is None else min(top_k, n_kept)
    search_radius = shards.n_bits if radius is None else min(radius, shards.n_bits)

    def nearest(n_rows: int) -> Neighbours:
        return _find(query_codes, shards, n_rows, search_radius, engine, index, n_threads)

    if logits is None:
        found = nearest(limit)
        return found if radius is not None else as_ranking(found, limit, shards.n_bits)
    logits = check_logits(logits, query_codes, shards.n_bits)
    if oversample is not None:
        n_candidates = min(oversample * limit, n_kept)
        candidates = as_ranking(nearest(n_candidates), n_candidates, shards.n_bits)
        return rescore(query_codes, logits, shards, candidates, limit)
    radii = np.full(len(query_codes), search_radius)
    if limit < n_kept:
        # Any row that ties with the last one may replace it.
        radii = _last_distances(nearest(limit), limit, search_radius)
    found = _scan(query_codes, shards, n_kept, radii, n_threads)
    found = rerank(query_codes, logits, shards, found, limit)
    return found if radius is not None else as_ranking(found, limit, shards.n_bits)


def _find(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    radius: int,
    engine: Engine,
    index: MultiIndex | None,
    n_threads: int,
) -> Neighbours:
    radii = np.full(len(query_codes), radius)
    if engine == "scan" or index is None:
        return _scan(query_codes, shards, limit, radii, n_threads)
    wanted = None if limit == shards.n_kept else limit
    if engine == "auto" and not index.predicts_gain(len(query_codes), radius=radius, top_k=wanted):
        return _scan(query_codes, shards, limit, radii, n_threads)
    kept = shards.kept_mask()
    found = index.search(
        query_codes,
        radius=radius,
        top_k=wanted,
        kept=None if kept is None else kept[: index.n_rows],
        n_threads=n_threads,
    )
    if found.given_up.all():
        return _scan(query_codes, shards, limit, radii, n_threads)
    rows = Neighbours(found.offsets, found.distances, found.rows, shards.offsets)
    if index.n_rows < len(shards):
        reached = _last_distances(rows, limit, radius)
        added = _scan(query_codes, shards.behind(index.n_rows), limit, reached, n_threads)
        rows = merged(rows, added, index.n_rows, limit)
    again = np.flatnonzero(found.given_up)
    if not len(again):
        return rows
    return rows.replaced(again, _scan(query_codes[again], shards, limit, radii[again], n_threads))


def _scan(
    query_codes: NDArray[np.uint8],
    shards: Shards,
    limit: int,
    radii: NDArray[np.int64],
    n_threads: int,
) -> Neighbours:
    if shards.n_kept * _GATHER_SHARE >= len(shards):
        return scan(query_codes, shards, limit, radii, n_threads)
    rows = shards.kept_rows()
    found = scan(query_codes, Shards.of(shards.take(rows), shards.n_bits), limit, radii, n_threads)
    return Neighbours(found.offsets, found.distances, rows[found.rows], shards.offsets)


def _last_distances(nearest: Neighbours, limit: int, radius: int) -> NDArray[np.int64]:
    """Distance of the last of ``limit`` rows of each query; ``radius`` if there are fewer rows."""
    sizes = np.diff(nearest.offsets)
    is_full = (sizes == limit) & (sizes > 0)
    radii = np.full(len(sizes), radius)
    radii[is_full] = nearest.distances[nearest.offsets[1:][is_full] - 1]
    return radii
