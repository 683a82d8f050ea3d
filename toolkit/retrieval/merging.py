"""Merges what several parts of a database found into what one database would have found.

A part holds consecutive rows and answers with its own nearest rows, in order. Sent whole, these
take ten bytes per query, row and part: 256 queries for 1,000 rows in each of 100 parts take 256 MB.
The numbers of rows at each distance are far smaller, and determine how many of its first rows each
part must send, so that all parts together send only what the answer holds.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.neighbours import Neighbours, Ranking

__all__ = [
    "HitOrder",
    "PartHits",
    "distance_histograms",
    "first_entries",
    "merged",
    "needed_sizes",
]

HitOrder: TypeAlias = Literal["row", "asymmetric-in-ties", "asymmetric"]
"""What orders hits: (distance, row); (distance, asymmetric distance, row); or (asymmetric distance,
distance, row)."""

_DISTANCE_BITS = 17
"""Bits of a sort key that hold a distance, at most 65,535."""


class PartHits(NamedTuple):
    """The rows that a part of a database found for each query, in order.

    Attributes
    ----------
    offsets
        int64 [q + 1]: query i has the entries ``offsets[i]`` to ``offsets[i + 1]``.
    distances
        uint16 [m], Hamming distances in bits.
    rows
        int64 [m], row numbers within the part.
    asymmetric
        float32 [m], asymmetric distances (`hashkit.retrieval.reranking`); None if unknown.
    """

    offsets: NDArray[np.int64]
    distances: NDArray[np.uint16]
    rows: NDArray[np.int64]
    asymmetric: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, found: Ranking | Neighbours) -> PartHits:
        """The hits of a search."""
        if isinstance(found, Neighbours):
            return cls(found.offsets, found.distances, found.rows)
        n_queries, n_rows = found.rows.shape
        offsets = np.arange(n_queries + 1, dtype=np.int64) * n_rows
        asymmetric = found.asymmetric_distances
        return cls(
            offsets,
            found.distances.ravel(),
            found.rows.ravel(),
            None if asymmetric is None else asymmetric.ravel(),
        )


def distance_histograms(hits: PartHits, n_bits: int) -> NDArray[np.uint32]:
    """Number of hits at each distance: uint32 [q, n_bits + 1]."""
    n_queries = len(hits.offsets) - 1
    keys = _queries_of(hits.offsets) * (n_bits + 1) + hits.distances
    counts = np.bincount(keys, minlength=n_queries * (n_bits + 1))
    return counts.astype(np.uint32).reshape(n_queries, n_bits + 1)


def needed_sizes(
    histograms: Sequence[NDArray[np.uint32]], limit: int, *, whole_ties: bool = False
) -> list[NDArray[np.int64]]:
    """How many of its first hits each part must send.

    Parameters
    ----------
    histograms
        `distance_histograms` of each part, in the order of their rows. A part may have stopped at
        ``limit`` hits per query.
    limit
        Number of rows per query in the answer.
    whole_ties
        Whether all hits at the last distance are needed, because rows do not decide their order.

    Returns
    -------
    list
        int64 [q] for each part.
    """
    whole = np.zeros(histograms[0].shape, np.int64)
    for histogram in histograms:
        whole += histogram
    until = np.cumsum(whole, axis=1)
    last = np.minimum((until < limit).sum(axis=1), until.shape[1] - 1)
    is_before = np.arange(until.shape[1]) < last[:, None]
    queries = np.arange(len(until))
    sizes = [histogram.sum(axis=1, where=is_before, dtype=np.int64) for histogram in histograms]
    # Earlier parts hold the smaller row numbers, so they fill the remaining places first.
    room = limit - functools.reduce(np.add, sizes)
    for size, histogram in zip(sizes, histograms, strict=True):
        tied = histogram[queries, last].astype(np.int64)
        taken = tied if whole_ties else np.minimum(tied, room)
        size += taken
        room = room - taken
    return sizes


def first_entries(hits: PartHits, sizes: NDArray[np.int64]) -> PartHits:
    """The first ``sizes[i]`` hits of each query i; ``sizes`` is int64 [q]."""
    own_sizes = np.diff(hits.offsets)
    sizes = np.minimum(sizes, own_sizes)
    if np.array_equal(sizes, own_sizes):
        return hits
    place = np.arange(len(hits.rows)) - np.repeat(hits.offsets[:-1], own_sizes)
    kept = place < np.repeat(sizes, own_sizes)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return PartHits(offsets, *(None if one is None else one[kept] for one in hits[1:]))  # type: ignore[arg-type]


def merged(
    parts: Sequence[PartHits],
    first_rows: Sequence[int],
    limit: int | None = None,
    *,
    order: HitOrder = "row",
) -> PartHits:
    """The hits of all parts in one order, at most ``limit`` per query.

    Parameters
    ----------
    parts
        Hits of the same queries in the given order, from parts in the order of their rows.
    first_rows
        For each part, the number that its first row has in the whole database.
    limit
        Number of hits per query; None for all.

    Returns
    -------
    PartHits
        Its rows are numbered over the whole database.
    """
    queries = np.concatenate([_queries_of(part.offsets) for part in parts])
    distances = np.concatenate([part.distances for part in parts])
    rows = np.concatenate(
        [part.rows + first for part, first in zip(parts, first_rows, strict=True)]
    )
    asymmetric = None
    if order != "row":
        asymmetric = np.concatenate([_asymmetric(part) for part in parts])
    sizes = sum(np.diff(part.offsets) for part in parts)
    starts = np.cumsum(sizes) - sizes
    # Later parts have the larger row numbers, so stable sorts leave ties in row order.
    places = _sorted(queries, distances, asymmetric, order)
    if limit is not None:
        places = places[np.arange(len(places)) - np.repeat(starts, sizes) < limit]
        sizes = np.minimum(sizes, limit)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    found = None if asymmetric is None else asymmetric[places]
    return PartHits(offsets, distances[places], rows[places], found)


def _sorted(
    queries: NDArray[np.int64],
    distances: NDArray[np.uint16],
    asymmetric: NDArray[np.float32] | None,
    order: HitOrder,
) -> NDArray[np.int64]:
    if asymmetric is None:
        # The hits of a part are sorted, and a stable sort of one key merges sorted runs.
        return np.argsort((queries << _DISTANCE_BITS) + distances, kind="stable")
    if order == "asymmetric":
        return np.lexsort((distances, asymmetric, queries))
    return np.lexsort((asymmetric, distances, queries))


def _asymmetric(part: PartHits) -> NDArray[np.float32]:
    if part.asymmetric is None:
        raise TypeError("hits in an order by asymmetric distances need these distances")
    return part.asymmetric


def _queries_of(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of the query of each entry, int64 [m]."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
