"""Search results: rows and distances for each query, ordered by (distance, row)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError

__all__ = ["Neighbours", "Ranking", "as_ranking"]


@dataclasses.dataclass(frozen=True, init=False)
class Ranking:
    """The nearest rows of each query, the same number for all queries.

    Attributes
    ----------
    distances
        uint16 [q, k], Hamming distances in bits, ascending unless rows were rescored.
    rows
        int64 [q, k], ascending among equal distances.
    offsets
        int64 [n_databases + 1], the first row of each database.
    asymmetric_distances
        float32 [q, k], ascending: asymmetric distances from the queries, in units of their logits,
        if rows were rescored (``oversample`` of `hashkit.search`); otherwise None.
    """

    distances: NDArray[np.uint16]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    asymmetric_distances: NDArray[np.float32] | None = None

    # The one of a frozen dataclass takes three times as long, which matters for few rows.
    def __init__(
        self,
        distances: NDArray[np.uint16],
        rows: NDArray[np.int64],
        offsets: NDArray[np.int64],
        asymmetric_distances: NDArray[np.float32] | None = None,
    ) -> None:
        fields = self.__dict__
        fields["distances"] = distances
        fields["rows"] = rows
        fields["offsets"] = offsets
        fields["asymmetric_distances"] = asymmetric_distances

    def locate(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Database number of each row, and its row number there: both int64 [q, k]."""
        return _locate(self.rows, self.offsets)


@dataclasses.dataclass(frozen=True, init=False)
class Neighbours:
    """The rows near each query; their number varies between queries.

    Attributes
    ----------
    offsets
        int64 [q + 1]: query i has the entries ``offsets[i]`` to ``offsets[i + 1]``.
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

    def __init__(
        self,
        offsets: NDArray[np.int64],
        distances: NDArray[np.uint16],
        rows: NDArray[np.int64],
        database_offsets: NDArray[np.int64],
    ) -> None:
        fields = self.__dict__
        fields["offsets"] = offsets
        fields["distances"] = distances
        fields["rows"] = rows
        fields["database_offsets"] = database_offsets

    @classmethod
    def of_queries(
        cls,
        found: Sequence[tuple[NDArray[np.uint16], NDArray[np.int64]]],
        database_offsets: NDArray[np.int64],
    ) -> Self:
        """Join the results of single queries: distances, uint16 [m_i], and rows, int64 [m_i]."""
        return cls(
            _offsets([len(rows) for _, rows in found]),
            np.concatenate([np.empty(0, np.uint16), *(distances for distances, _ in found)]),
            np.concatenate([np.empty(0, np.int64), *(rows for _, rows in found)]),
            database_offsets,
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the results of several searches of one database, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            _offsets(np.concatenate([np.diff(part.offsets) for part in parts])),
            np.concatenate([part.distances for part in parts]),
            np.concatenate([part.rows for part in parts]),
            parts[0].database_offsets,
        )

    def of_query(self, query: int) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Distances, uint16 [m_i], and rows, int64 [m_i], of query number ``query``.

        Raises
        ------
        IndexError
            If there is no such query.
        """
        start, stop = self.offsets[:-1][query], self.offsets[1:][query]
        return self.distances[start:stop], self.rows[start:stop]

    def locate(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Database number of each row, and its row number there: both int64 [m]."""
        return _locate(self.rows, self.database_offsets)

    def replaced(self, queries: NDArray[np.int64], others: Neighbours) -> Neighbours:
        """Replace the entries of some queries, int64 [m], ascending, by those of ``others`` [m]."""
        sizes = np.diff(self.offsets)
        is_replaced = np.zeros(len(sizes), dtype=np.bool_)
        is_replaced[queries] = True
        is_unchanged = np.repeat(~is_replaced, sizes)
        sizes[queries] = np.diff(others.offsets)
        is_new = np.repeat(is_replaced, sizes)
        distances, rows = np.empty(len(is_new), np.uint16), np.empty(len(is_new), np.int64)
        distances[is_new], distances[~is_new] = others.distances, self.distances[is_unchanged]
        rows[is_new], rows[~is_new] = others.rows, self.rows[is_unchanged]
        return Neighbours(_offsets(sizes), distances, rows, self.database_offsets)


def as_ranking(found: Neighbours, limit: int, n_bits: int) -> Ranking:
    """Convert results with ``limit`` rows per query to a table.

    Raises
    ------
    CodesError
        If there are fewer, which can only happen if codes have more than ``n_bits`` bits.
    """
    shape = (len(found.offsets) - 1, limit)
    if len(found.rows) != shape[0] * limit:
        raise CodesError(
            f"expected {limit} rows per query, found fewer: codes of the database are damaged, "
            f"with bits set beyond the first {n_bits}; `hashkit verify` lists them"
        )
    return Ranking(
        found.distances.reshape(shape), found.rows.reshape(shape), found.database_offsets
    )


def _offsets(sizes: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    """Start of each of consecutive parts, and the end of the last: int64 [len(sizes) + 1]."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _locate(
    rows: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    databases = np.searchsorted(offsets, rows, side="right") - 1
    return databases, rows - offsets[databases]
