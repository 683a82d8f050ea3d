"""Results of a search with a multi-index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MultiIndexResult", "SearchedPart", "joined", "nothing"]

_DISTANCE_SHIFT: Final = np.uint64(48)
_ROW_MASK: Final = np.uint64((1 << 48) - 1)


@dataclasses.dataclass(frozen=True, slots=True)
class MultiIndexResult:
    """The rows found for each query, ordered by (distance, row).

    Attributes
    ----------
    offsets
        int64 [q + 1]: query i has the entries ``offsets[i]`` to ``offsets[i + 1]``.
    distances
        uint16 [m], Hamming distances in bits.
    rows
        int64 [m].
    given_up
        bool [q], the queries without an answer, because a scan is cheaper; they have no entries.
    """

    offsets: NDArray[np.int64]
    distances: NDArray[np.uint16]
    rows: NDArray[np.int64]
    given_up: NDArray[np.bool_]


class SearchedPart(NamedTuple):
    """Result of `hashkit.kernels.bucket_search.search_tables` for part of the queries."""

    keys: NDArray[np.uint64]
    ends: NDArray[np.int64]
    spent: NDArray[np.int64]
    given_up: NDArray[np.bool_]
    is_damaged: bool


def nothing(n_queries: int) -> SearchedPart:
    """The empty result of a search for no rows."""
    zeros = np.zeros(n_queries + 1, np.int64)
    return SearchedPart(np.empty(0, np.uint64), zeros, zeros[1:], zeros[1:] > 0, False)


def joined(parts: Sequence[SearchedPart]) -> MultiIndexResult:
    """Join the results of consecutive parts of the queries."""
    if len(parts) == 1:
        keys, ends, _, given_up, _ = parts[0]
    else:
        keys = np.concatenate([part.keys for part in parts])
        counts = np.concatenate([np.diff(part.ends) for part in parts])
        ends = np.concatenate([[0], np.cumsum(counts)])
        given_up = np.concatenate([part.given_up for part in parts])
    return MultiIndexResult(
        ends,
        (keys >> _DISTANCE_SHIFT).astype(np.uint16),
        (keys & _ROW_MASK).astype(np.int64),
        given_up,
    )
