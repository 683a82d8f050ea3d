"""What a search finds: rows and distances of each query, ordered by (distance, row)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

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

    @classmethod
    def of_queries(
        cls,
        found: Sequence[tuple[NDArray[np.uint16], NDArray[np.int64]]],
        database_offsets: NDArray[np.int64],
    ) -> Self:
        """What was found for each query: distances, uint16 [m_i], and rows, int64 [m_i]."""
        return cls(
            _offsets([len(rows) for _, rows in found]),
            np.concatenate([np.empty(0, np.uint16), *(distances for distances, _ in found)]),
            np.concatenate([np.empty(0, np.int64), *(rows for _, rows in found)]),
            database_offsets,
        )

    @classmethod
    def of_table(
        cls,
        distances: NDArray[np.uint16],
        rows: NDArray[np.int64],
        sizes: NDArray[np.int64],
        database_offsets: NDArray[np.int64],
    ) -> Self:
        """The first ``sizes`` entries, int64 [q], of each row of tables [q, k]."""
        kept = np.arange(rows.shape[1]) < sizes[:, None]
        return cls(_offsets(sizes), distances[kept], rows[kept], database_offsets)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The queries of several searches of one database, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            _offsets(np.concatenate([np.diff(part.offsets) for part in parts])),
            np.concatenate([part.distances for part in parts]),
            np.concatenate([part.rows for part in parts]),
            parts[0].database_offsets,
        )

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
        return Neighbours(_offsets(sizes), distances, rows, self.database_offsets)


def _offsets(sizes: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Where each of consecutive parts begins, and the last one ends: int64 [len(sizes) + 1]."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _locate(
    rows: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    which = np.searchsorted(offsets, rows, side="right") - 1
    return which, rows - offsets[which]
