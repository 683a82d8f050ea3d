"""Searches a database in parts, each of which answers for its own rows.

Every call carries all that it needs, so a part may be anywhere, and may be asked again elsewhere
after a failure. Parts are asked twice where that saves bytes: first for the number of rows at each
distance, then for the rows that can be in the answer (`hashkit.retrieval.merging`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.arguments import split_rows
from hashkit.retrieval.merging import merged, needed_sizes
from hashkit.retrieval.neighbours import Neighbours, Ranking, as_ranking
from hashkit.retrieval.part_query import PartAnswer, PartQuery, SearchPart
from hashkit.threads import Together, one_by_one

__all__ = ["search_parts"]

_ONE_ROUND_BYTES: Final = 2**20
"""Up to this many bytes of hits, all parts send everything that they found at once."""

_HIT_BYTES, _COUNT_BYTES = 10, 4


def search_parts(
    query: PartQuery,
    parts: Sequence[SearchPart],
    *,
    where: NDArray[Any] | None = None,
    database_offsets: NDArray[np.int64] | None = None,
    together: Together = one_by_one,
) -> Ranking | Neighbours:
    """Find the nearest rows of each query; the result equals `hashkit.search` of all rows.

    Parameters
    ----------
    parts
        The parts, in the order of their rows.
    where
        Rows to search: bool [n], or row numbers, integer [m], over all parts.
    database_offsets
        int64 [n_databases + 1], the first row of each database, for `Ranking.locate`; by default
        each part is one database.
    together
        Runs the calls of all parts.

    Returns
    -------
    Ranking or Neighbours
        As `hashkit.search` returns.

    Raises
    ------
    CodesError, ConfigError
        As `hashkit.search` does.
    """
    offsets = np.cumsum([0, *(part.n_rows for part in parts)], dtype=np.int64)
    first_rows = offsets[:-1].tolist()
    own_rows: Sequence[NDArray[Any] | None] = [None] * len(parts)
    if where is not None:
        own_rows = split_rows(where, first_rows, int(offsets[-1]))
    sizes: Sequence[NDArray[np.int64] | None] = [None] * len(parts)
    if _counts_first(query, len(parts)):
        assert query.n_found is not None  # noqa: S101 - by _counts_first
        counted = together(
            [
                functools.partial(part.count, query, own)
                for part, own in zip(parts, own_rows, strict=True)
            ]
        )
        sizes = needed_sizes(
            [one.histograms for one in counted],
            query.n_found,
            whole_ties=query.order == "asymmetric-in-ties",
        )
    answers = together(
        [
            functools.partial(part.answer, query, own, wanted)
            for part, own, wanted in zip(parts, own_rows, sizes, strict=True)
        ]
    )
    return _merged(
        query, answers, first_rows, offsets if database_offsets is None else database_offsets
    )


def _counts_first(query: PartQuery, n_parts: int) -> bool:
    """Whether the parts are first asked for the number of rows at each distance."""
    if query.n_found is None or n_parts == 1:
        return False
    if query.oversample is not None:  # the numbers decide what is rescored, not only what is sent
        return True
    hits = query.n_found * n_parts * _HIT_BYTES
    # What the parts send in two rounds: numbers of rows, and the hits of the answer.
    two_rounds = (query.n_bits + 1) * n_parts * _COUNT_BYTES + query.n_found * _HIT_BYTES
    return two_rounds < hits and len(query.query_codes) * hits > _ONE_ROUND_BYTES


def _merged(
    query: PartQuery,
    answers: Sequence[PartAnswer],
    first_rows: Sequence[int],
    database_offsets: NDArray[np.int64],
) -> Ranking | Neighbours:
    hits = merged([one.hits for one in answers], first_rows, query.top_k, order=query.order)
    found = Neighbours(hits.offsets, hits.distances, hits.rows, database_offsets)
    if query.radius is not None:
        return found
    assert query.top_k is not None  # noqa: S101 - without a radius
    limit = min(query.top_k, sum(one.n_kept for one in answers))
    ranking = as_ranking(found, limit, query.n_bits)
    if query.oversample is None:
        return ranking
    assert hits.asymmetric is not None  # noqa: S101 - by `LocalSearchPart.answer`
    scores = hits.asymmetric.reshape(ranking.rows.shape)
    return dataclasses.replace(ranking, asymmetric_distances=scores)
