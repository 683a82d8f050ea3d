"""Linear search in NumPy, for searches that take less time than loading compiled kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.hamming import BLOCK_ROWS, RowDistances
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.shards import Shards

__all__ = ["scan_numpy"]


def scan_numpy(
    query_codes: NDArray[np.uint8], shards: Shards, top_k: int, radii: NDArray[np.int64]
) -> Neighbours:
    """Find the ``top_k`` nearest rows within each query's radius.

    Parameters and result are those of `hashkit.retrieval.scan_compiled.scan_compiled`.
    """
    nearest = [_Nearest(top_k, int(radius)) for radius in radii]
    row_distances = RowDistances(query_codes)
    for span in shards.spans(rows=BLOCK_ROWS):
        row_distances.load(span.codes)
        for query, found in enumerate(nearest):
            found.add(row_distances(query), span.first, span.kept)
    return Neighbours.of_queries([found.result() for found in nearest], shards.offsets)


class _Nearest:
    """The ``limit`` nearest rows of one query among those added so far.

    Rows are added in ascending order, so a row that ties with the last candidate is not wanted:
    only rows below ``bound`` are. When ``limit`` candidates have been collected since the last
    sort, all are sorted, so that each is sorted a bounded number of times. ``limit`` is at least 1.
    """

    def __init__(self, limit: int, radius: int) -> None:
        self._limit = limit
        self._bound = radius + 1
        self._distances: list[NDArray[Any]] = []
        self._rows: list[NDArray[np.int64]] = []
        self._n_gathered = 0

    def add(
        self, distances: NDArray[Any], first: int, kept: NDArray[np.bool_] | None = None
    ) -> None:
        """Add rows ``first``, ``first + 1``, ... with ``distances``, uint8 or uint16 [rows]."""
        is_near = distances < self._bound
        rows = np.flatnonzero(is_near if kept is None else is_near & kept)
        if not len(rows):
            return
        near = distances[rows]
        if len(rows) > self._limit:
            # No row farther than the limit-th nearest of this block can be in the result.
            counts = np.cumsum(np.bincount(near))
            is_candidate = near <= np.searchsorted(counts, self._limit)
            rows, near = rows[is_candidate], near[is_candidate]
        self._distances.append(near)
        self._rows.append(rows + first)
        self._n_gathered += len(rows)
        if self._n_gathered >= self._limit:
            self._compact()
            self._bound = int(self._distances[0][-1])

    def _compact(self) -> None:
        distances, rows = self._joined()
        order = np.argsort(distances, kind="stable")[: self._limit]
        self._distances, self._rows = [distances[order]], [rows[order]]
        self._n_gathered = 0

    def _joined(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        # uint8 and uint16 candidates never mix; an empty result still needs a type.
        if not self._rows:
            return np.empty(0, np.uint16), np.empty(0, np.int64)
        return np.concatenate(self._distances), np.concatenate(self._rows)

    def result(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Distances and rows of the nearest rows, by (distance, row)."""
        self._compact()
        distances, rows = self._joined()
        return distances.astype(np.uint16), rows
