"""The k nearest rows of a query, as rows go by in ascending order.

A row at distance d is wanted as long as fewer than k rows were seen at d or nearer: rows that come
later lose every tie. So the distance below which rows are still wanted, the *bound*, only falls,
and one comparison disposes of nearly every row of a large database.

The state of q queries, one row each, is a few arrays that a scan is handed again and again, as a
`Selection`:

========== ============== =========================================================================
counts     int64 [q, b+1] rows taken at each distance below the bound
bounds     int64 [q]      rows at this distance or farther are not wanted any more
n_below    int64 [q]      rows taken below the bound: fewer than k
n_held     int64 [q]      candidates held
distances  uint16 [q, c]  distances of the candidates held, in the order of their rows
rows       int64 [q, c]   their rows
========== ============== =========================================================================

A candidate is kept until there is no room for another, and then those that the bound has overtaken
are dropped; with room for c = 2k or more this costs every candidate a bounded number of steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hashkit.kernels.compiling import inlined, kernel

__all__ = ["Selection", "order", "settle", "take"]


class Selection(NamedTuple):
    """The state of some queries: see above."""

    counts: Any
    bounds: Any
    n_below: Any
    n_held: Any
    distances: Any
    rows: Any


@inlined
def take(query: int, distance: int, row: int, top_k: int, state: Selection) -> None:
    """Take a row whose distance is below the query's bound, and lower the bound if k are below."""
    held = state.n_held[query]
    if held == state.distances.shape[1]:
        held = settle(
            state.distances[query],
            state.rows[query],
            held,
            state.bounds[query],
            top_k - state.n_below[query],
        )
    state.distances[query, held] = distance
    state.rows[query, held] = row
    state.n_held[query] = held + 1
    state.counts[query, distance] += 1
    below = state.n_below[query] + 1
    bound = state.bounds[query]
    while below >= top_k:
        bound -= 1
        below -= state.counts[query, bound]
    state.n_below[query] = below
    state.bounds[query] = bound


@kernel
def settle(distances: Any, rows: Any, n_held: int, bound: int, n_at_bound: int) -> int:
    """Keep the candidates below the bound and the first ``n_at_bound`` at it; returns how many."""
    kept = 0
    for index in range(n_held):
        distance = distances[index]
        if distance > bound:
            continue
        if distance == bound:
            if n_at_bound <= 0:
                continue
            n_at_bound -= 1
        distances[kept] = distance
        rows[kept] = rows[index]
        kept += 1
    return kept


@kernel
def order(
    n_bits: int,
    n_held: Any,
    distances: Any,
    rows: Any,
    out_distances: Any,
    out_rows: Any,
    n_found: Any,
) -> int:
    """Sort the candidates of every query by (distance, row), and keep the first k.

    Parameters
    ----------
    n_held, distances, rows
        int64 [p, q], uint16 [p, q, c] and int64 [p, q, c]: the candidates of each query that p
        scans hold, of which each saw rows that follow those of the one before.
    out_distances, out_rows
        uint16 [q, k] and int64 [q, k]: the k nearest.
    n_found
        int64 [q]: how many of the k there are; the function returns their sum.
    """
    n_all = 0
    places = np.empty(n_bits + 2, np.int64)
    top_k = out_rows.shape[1]
    for query in range(n_found.shape[0]):
        places[:] = 0
        for part in range(n_held.shape[0]):
            for index in range(n_held[part, query]):
                places[distances[part, query, index] + 1] += 1
        for distance in range(1, places.shape[0]):
            places[distance] += places[distance - 1]
        n_found[query] = min(top_k, places[n_bits + 1])
        n_all += n_found[query]
        for part in range(n_held.shape[0]):
            for index in range(n_held[part, query]):
                distance = distances[part, query, index]
                place = places[distance]
                if place < top_k:
                    places[distance] = place + 1
                    out_distances[query, place] = distance
                    out_rows[query, place] = rows[part, query, index]
    return n_all
