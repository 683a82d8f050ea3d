"""Exact search for the rows of one or several databases that are nearest to each query.

Results are always ordered by distance, and rows at the same distance by row number. They do not
depend on the engine, the number of threads or the number of databases that hold the rows.
"""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import check_radius
from hashkit.inputs.arguments import whole_number
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.arguments import Engine, check_oversample, check_settings, chosen_rows
from hashkit.retrieval.indexed import Index, checked_index, find_nearest, indexed_rows
from hashkit.retrieval.neighbours import Neighbours, Ranking, as_ranking
from hashkit.retrieval.reranking import check_logits, rerank, rescore
from hashkit.retrieval.scan import last_distances, scan
from hashkit.retrieval.shards import Database, Shards
from hashkit.threads import check_threads

__all__ = ["Engine", "search"]


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
    index: Index | None = None,
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
    index: Index | None = None,
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
    index: Index | None = None,
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
    index: Index | None = None,
    n_threads: int | None = None,
) -> Ranking | Neighbours:
    """Find the nearest rows of each query exactly, ordered by (distance, row).

    Several threads may search at the same time, in one bank or several. Call `hashkit.warm_up` in a
    service so that its first searches are not slower than the others.

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
        Largest distance, in bits, from 0 to the bits of a code.
    n_bits
        Number of bits of a code: required for an array, checked against a bank.
    where
        Rows to search: bool [n], or row numbers, integer [m], in any order.
    logits
        Logits of the queries, floating [q, n_bits]. If given, rows at the same Hamming distance
        are ordered by their asymmetric distance from the query, then by row (see
        `hashkit.retrieval.reranking`). The distances returned are still Hamming distances.
    oversample
        1 or more, only with ``logits`` and ``top_k``: the nearest ``oversample * top_k`` rows by
        (distance, row) are ordered by (asymmetric distance, distance, row), and the first ``top_k``
        returned. Each result takes 10 bytes times ``oversample`` while the search runs.
    engine
        ``scan`` compares every row; ``index`` uses the multi-index; ``auto`` uses the multi-index
        if its cost model predicts that it is faster.
    index
        Multi-index of the database's first rows, if there is one; for several databases, a list
        with the index of each, or None. All other rows are compared one by one.
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
    BankMismatchError
        If banks of different models are searched together.
    IndexMismatchError
        If an index does not match the codes.
    ConfigError
        If neither ``top_k`` nor ``radius`` is given, one is out of range, ``where`` does not match
        the database, the engine is ``index`` but there is no index, or ``oversample`` is given
        without ``logits`` or with ``radius``.
    """
    shards = Shards.of(database, n_bits)
    query_codes = check_codes(query_codes, shards.n_bits, "query codes")
    top_k = None if top_k is None else whole_number(top_k, "top_k", 0)
    radius = None if radius is None else check_radius(radius, shards.n_bits)
    index = checked_index(index)
    has_index = index is not None and (
        isinstance(index, MultiIndex) or any(one is not None for one in index)
    )
    check_settings(top_k, radius, engine, has_index=has_index)
    oversample = check_oversample(oversample, logits is not None, radius)
    indexed = [] if engine == "scan" else indexed_rows(index, database, shards)
    n_threads = None if n_threads is None else check_threads(n_threads, "n_threads")
    if where is not None:
        shards = shards.where(chosen_rows(where, len(shards)))
    n_kept = shards.n_kept
    limit = n_kept if top_k is None or top_k > n_kept else top_k
    search_radius = shards.n_bits if radius is None else radius
    engine_settings = search_radius, engine, indexed, n_threads
    if logits is None:
        found = find_nearest(query_codes, shards, limit, *engine_settings)
        return found if radius is not None else as_ranking(found, limit, shards.n_bits)
    logits = check_logits(logits, query_codes, shards.n_bits)
    if oversample is not None:
        n_candidates = min(oversample * limit, n_kept)
        found = find_nearest(query_codes, shards, n_candidates, *engine_settings)
        candidates = as_ranking(found, n_candidates, shards.n_bits)
        return rescore(query_codes, logits, shards, candidates, limit)
    radii = np.full(len(query_codes), search_radius)
    if limit < n_kept:
        # Any row that ties with the last one may replace it.
        found = find_nearest(query_codes, shards, limit, *engine_settings)
        radii = last_distances(found, limit, search_radius)
    found = scan(query_codes, shards, n_kept, radii, n_threads)
    found = rerank(query_codes, logits, shards, found, limit)
    return found if radius is not None else as_ranking(found, limit, shards.n_bits)
