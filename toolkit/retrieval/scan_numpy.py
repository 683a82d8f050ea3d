"""Linear search in NumPy: for small jobs, which are done before compiled kernels are loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.hamming import BLOCK_ROWS, RowDistances
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.shards import Shards

__all__ = ["scan_numpy"]


def scan_numpy(
    query_codes: NDArray[np.uint8], shards: Shards, top_k: int, reaches: NDArray[np.int64]
) -> Neighbours:
    """Find the ``top_k`` nearest rows within each query's reach.

    Parameters and result are those of `hashkit.retrieval.scan_compiled.scan_compiled`.
    """
    nearest = [_Nearest(top_k, int(reach)) for reach in reaches]
    row_distances = RowDistances(query_codes)
    for span in shards.spans(rows=BLOCK_ROWS):
        row_distances.load(span.codes)
        for query, found in enumerate(nearest):
            found.add(row_distances(query), span.first, span.alive)
    return Neighbours.of_queries([found.result() for found in nearest], shards.offsets)


class _Nearest:
    """The ``limit`` nearest rows of one query among those added so far.

    Rows come in ascending order, so a row that ties with the last one held comes too late: only
    rows below ``bound`` matter. Candidates gather until there are as many again as are wanted,
    and are sorted then, so that each is sorted a bounded number of times. ``limit`` is 1 or more.
    """

    def __init__(self, limit: int, reach: int) -> None:
        self._limit = limit
        self._bound = reach + 1
        self._distances: list[NDArray[Any]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._n_gathered = 0

    def add(
        self, distances: NDArray[Any], first: int, alive: NDArray[np.bool_] | None = None
    ) -> None:
        """Consider rows ``first``, ``first + 1``, ... at ``distances``, uint8 or uint16 [rows]."""
        is_near = distances < self._bound
        rows = np.flatnonzero(is_near if alive is None else is_near & alive)
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
