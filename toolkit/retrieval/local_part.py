"""A part of a database that is open in this process."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.arguments import chosen_rows
from hashkit.retrieval.indexed import Index
from hashkit.retrieval.merging import PartHits, distance_histograms, first_entries
from hashkit.retrieval.part_query import PartAnswer, PartCounts, PartQuery
from hashkit.retrieval.reranking import asymmetric_distances, rescored_order
from hashkit.retrieval.search import search
from hashkit.retrieval.shards import Database, Shards

__all__ = ["LocalSearchPart"]

_KEPT_SEARCHES: Final = 16
"""Number of searches whose hits a part keeps between the two calls; older ones are repeated."""


class LocalSearchPart:
    """A part whose databases are open in this process.

    Parameters
    ----------
    database
        As in `hashkit.search`.
    index
        As in `hashkit.search`.
    n_threads
        Number of threads; one per CPU by default.
    """

    def __init__(
        self,
        database: Database,
        n_bits: int | None = None,
        *,
        index: Index | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._database = database
        self._shards = Shards.of(database, n_bits)
        self._index = index
        self._n_threads = n_threads
        self._found: dict[str, PartHits] = {}
        self._lock = threading.Lock()

    @property
    def n_rows(self) -> int:
        """Number of rows, including deleted ones."""
        return len(self._shards)

    def count(self, query: PartQuery, where: NDArray[Any] | None = None) -> PartCounts:
        """Count the nearest rows at each distance, and keep them for `answer`."""
        hits = self._search(query, where)
        with self._lock:
            if len(self._found) >= _KEPT_SEARCHES:
                del self._found[next(iter(self._found))]
            self._found[query.key] = hits
        return PartCounts(self._n_kept(where), distance_histograms(hits, query.n_bits))

    def answer(
        self,
        query: PartQuery,
        where: NDArray[Any] | None = None,
        sizes: NDArray[np.int64] | None = None,
    ) -> PartAnswer:
        """The first hits of each query, in the order of the answer."""
        with self._lock:
            hits = self._found.pop(query.key, None)
        if hits is None:
            hits = self._search(query, where)
        if sizes is not None:
            hits = first_entries(hits, sizes)
        if query.logits is not None:
            hits = self._rescored(query, hits)
        return PartAnswer(self._n_kept(where), hits)

    def _search(self, query: PartQuery, where: NDArray[Any] | None) -> PartHits:
        found = search(
            query.query_codes,
            self._database,
            top_k=query.n_found,
            radius=query.radius,
            n_bits=query.n_bits,
            where=where,
            # With `oversample`, only rows that are among the nearest of all parts are rescored.
            logits=query.logits if query.oversample is None else None,
            engine=query.engine,
            index=self._index,
            n_threads=self._n_threads,
        )
        return PartHits.of(found)

    def _rescored(self, query: PartQuery, hits: PartHits) -> PartHits:
        """The same hits with asymmetric distances, and with `oversample` in their order."""
        assert query.logits is not None  # noqa: S101 - by the caller
        scores, places = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for at, (first, stop) in enumerate(itertools.pairwise(hits.offsets.tolist())):
            codes = self._shards.take(hits.rows[first:stop])
            asymmetric = asymmetric_distances(query.query_codes[at], query.logits[at], codes)
            order = np.arange(stop - first)
            if query.oversample is not None:
                order = rescored_order(asymmetric)[: query.top_k]
            scores.append(asymmetric[order])
            places.append(first + order)
        offsets = np.cumsum([0, *map(len, places[1:])], dtype=np.int64)
        chosen = np.concatenate(places)
        return PartHits(offsets, hits.distances[chosen], hits.rows[chosen], np.concatenate(scores))

    def _n_kept(self, where: NDArray[Any] | None) -> int:
        if where is None:
            return self._shards.n_kept
        return self._shards.where(chosen_rows(where, self.n_rows)).n_kept
