"""Selects the k nearest rows of a query while rows are scanned in ascending order.

A row at distance d is wanted only if fewer than k earlier rows are at distance d or nearer, because
later rows lose every tie. So the *bound*, the distance below which rows are still wanted, only
falls, and one comparison rejects nearly every row of a large database.

The state of q queries is a `Selection`, a few arrays that are passed to each call of a scan:

========== ============== =========================================================================
counts     int64 [q, b+1] rows taken at each distance below the bound
bounds     int64 [q]      rows at this distance or farther are no longer wanted
n_below    int64 [q]      rows taken below the bound: fewer than k
n_held     int64 [q]      number of candidates held
distances  uint16 [q, c]  distances of the candidates held, in row order
rows       int64 [q, c]   their rows
========== ============== =========================================================================

When there is no space for another candidate, those that are no longer wanted are dropped. With
c = 2k or more, the number of steps per candidate is bounded.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import int64, uint64

from hashkit.kernels.compiling import inlined, inner_kernel, kernel

__all__ = ["Selection", "compact", "order", "take"]


class Selection(NamedTuple):
    """The state of q queries; see the module's docstring."""

    counts: Any
    bounds: Any
    n_below: Any
    n_held: Any
    distances: Any
    rows: Any


@inlined
def take(query: int, distance: int, row: int, top_k: int, state: Selection) -> None:
    """Take a row whose distance is below the query's bound; lower the bound if k rows are below."""
    query = uint64(query)  # Numba checks signed indices for negative values
    held = state.n_held[query]
    if held == state.distances.shape[1]:
        held = compact(
            state.distances[query],
            state.rows[query],
            held,
            state.bounds[query],
            top_k - state.n_below[query],
        )
    state.distances[query, uint64(held)] = distance
    state.rows[query, uint64(held)] = row
    state.n_held[query] = held + 1
    state.counts[query, uint64(distance)] += 1
    below = state.n_below[query] + 1
    bound = state.bounds[query]
    while below >= top_k:
        bound -= 1
        below -= state.counts[query, uint64(bound)]
    state.n_below[query] = below
    state.bounds[query] = bound


@inner_kernel
def compact(distances: Any, rows: Any, n_held: int, bound: int, n_at_bound: int) -> int:
    """Keep the candidates below the bound and the first ``n_at_bound`` at it; returns a count."""
    n_kept = uint64(0)
    for index in range(n_held):
        distance = distances[index]
        if distance > bound:
            continue
        if distance == bound:
            if n_at_bound <= 0:
                continue
            n_at_bound -= 1
        distances[n_kept] = distance
        rows[n_kept] = rows[index]
        n_kept += uint64(1)
    return int64(n_kept)


@kernel
def order(
    n_bits: int,
    n_held: Any,
    distances: Any,
    rows: Any,
    out_distances: Any,
    out_rows: Any,
    offsets: Any,
) -> int:
    """Sort the candidates of every query by (distance, row), and keep the first k.

    Returns the number of rows found for all queries.

    Parameters
    ----------
    n_held, distances, rows
        int64 [p, q], uint16 [p, q, c] and int64 [p, q, c]: the candidates of each query from p
        scans, over consecutive ranges of rows.
    out_distances, out_rows
        uint16 [q * k] and int64 [q * k], modified: the nearest rows, one query after the other.
    offsets
        int64 [q + 1], modified: query i has the entries ``offsets[i]`` to ``offsets[i + 1]``.
    """
    places = np.empty(n_bits + 2, np.int64)
    n_queries = offsets.shape[0] - 1
    top_k = out_rows.shape[0] // n_queries
    first = 0
    for query in range(n_queries):
        places[:] = 0
        for part in range(n_held.shape[0]):
            for index in range(n_held[part, query]):
                places[uint64(distances[part, query, index]) + uint64(1)] += 1
        for distance in range(1, places.shape[0]):
            places[distance] += places[distance - 1]
        for part in range(n_held.shape[0]):
            for index in range(n_held[part, query]):
                distance = uint64(distances[part, query, index])
                place = places[distance]
                if place < top_k:
                    places[distance] = place + 1
                    out_distances[uint64(first + place)] = distance
                    out_rows[uint64(first + place)] = rows[part, query, index]
        offsets[query] = first
        first += min(top_k, places[n_bits + 1])
    offsets[n_queries] = first
    return first
