"""What a search finds: rows and distances of each query, ordered by (distance, row)."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbours", "Ranking"]


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

    def replaced(self, queries: NDArray[np.int64], others: Neighbours) -> Neighbours:
        """The same, but for some queries, int64 [m] ascending, the entries of ``others`` [m]."""
        sizes = np.diff(self.offsets)
        is_replaced = np.zeros(len(sizes), dtype=np.bool_)
        is_replaced[queries] = True
        kept = np.repeat(~is_replaced, sizes)
        sizes[queries] = np.diff(others.offsets)
        taken = np.repeat(is_replaced, sizes)
        distances, rows = np.empty(len(taken), np.uint16), np.empty(len(taken), np.int64)
        distances[taken], distances[~taken] = others.distances, self.distances[kept]
        rows[taken], rows[~taken] = others.rows, self.rows[kept]
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return Neighbours(offsets, distances, rows, self.database_offsets)


def _locate(
    rows: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    which = np.searchsorted(offsets, rows, side="right") - 1
    return which, rows - offsets[which]
