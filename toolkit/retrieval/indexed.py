"""A search with an index of the first rows of a database, and a scan of the rows added since."""

from __future__ import annotations

import numpy as np

from hashkit.errors import IndexMismatchError
from hashkit.multi_index.binding import DigestedCodes
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.shards import Database, Shards

__all__ = ["check_index", "merged"]


def check_index(index: MultiIndex, database: Database, shards: Shards) -> None:
    """Check that an index is of the first rows of a database, whose shards these are.

    Raises
    ------
    IndexMismatchError
        If it is not.
    """
    if len(shards) < index.n_rows:
        raise IndexMismatchError(
            f"expected an index of at most the database's {len(shards)} rows, found one of "
            f"{index.n_rows}: build it again"
        )
    only = database[0] if isinstance(database, list | tuple) and len(database) == 1 else database
    digest = only.rows_digest if isinstance(only, DigestedCodes) else None
    if index.n_bits != shards.n_bits or not index.is_of(shards.codes, digest):
        raise IndexMismatchError(
            "expected an index of the database's first rows, found one of other codes: "
            "build it again"
        )


def merged(indexed: Neighbours, added: Neighbours, n_indexed: int, limit: int) -> Neighbours:
    """The first ``limit`` rows of each query, of two results ordered by (distance, row).

    Parameters
    ----------
    indexed
        Rows found with the index.
    added
        Rows found by a scan of the rows behind it, counted from its end.
    n_indexed
        Number of rows of the index.
    """
    if not len(added.rows):
        return indexed
    sizes = np.diff(indexed.offsets), np.diff(added.offsets)
    queries = np.concatenate([np.repeat(np.arange(len(one)), one) for one in sizes])
    distances = np.concatenate([indexed.distances, added.distances])
    rows = np.concatenate([indexed.rows, added.rows + n_indexed])
    # Added rows are the larger numbers and come second, so a stable sort leaves ties in order.
    order = np.argsort(queries * (1 << 17) + distances, kind="stable")
    counts = sizes[0] + sizes[1]
    starts = np.cumsum(counts) - counts
    kept = order[np.arange(len(order)) - np.repeat(starts, counts) < limit]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, limit))])
    return Neighbours(offsets, distances[kept], rows[kept], indexed.database_offsets)
