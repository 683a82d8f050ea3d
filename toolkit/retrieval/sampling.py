"""A sample of rows, from which a search guesses the largest distance of its results."""

from __future__ import annotations

import math
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashkit.retrieval.neighbours import Neighbours
from hashkit.retrieval.shards import Shards

__all__ = ["Sample", "planned"]

_RUN: Final = 16
"""Consecutive rows that are taken at a time: a few cache lines."""

_HITS: Final = 12
"""Expected number of results in the sample. With more, the guess is more precise, but a guess twice
too wide costs only ``top_k * log(2)`` more rows."""

_FEWEST_HITS: Final = 6
_LARGEST_SHARE: Final = 16
"""At most one row in this many is sampled, so the sample costs at most this share of a search."""

_SPARSE: Final = 32
"""Rows per result from which a guess is worthwhile."""

_DEVIATIONS: Final = 3.5
"""Standard deviations of the number of results in a sample that a guess allows for: it is too
small for about one query in a thousand if rows are in random order."""


Scalar = TypeVar("Scalar", np.uint8, np.bool_)


class Sample(NamedTuple):
    """What to search first.

    Attributes
    ----------
    stride
        One row in this many is sampled.
    top_k
        Number of nearest rows to find in the sample; the distance of the last is the guess.
    """

    stride: int
    top_k: int

    def of(self, shards: Shards) -> Shards:
        """Some rows of each database, evenly spread; copied."""
        codes = [self._rows(one) for one in shards.codes]
        kept = [None if one is None else self._rows(one) for one in shards.kept]
        return Shards(codes, shards.n_bits, kept)

    def reached(self, nearest: Neighbours, radii: NDArray[np.int64]) -> NDArray[np.int64]:
        """The guesses, int64 [q], from the nearest rows of the sample; at most ``radii``."""
        guesses = radii.copy()
        is_full = np.diff(nearest.offsets) == self.top_k
        guesses[is_full] = nearest.distances[nearest.offsets[1:][is_full] - 1]
        return guesses

    def _rows(self, rows: NDArray[Scalar]) -> NDArray[Scalar]:
        span = self.stride * _RUN
        n_spans = len(rows) // span
        runs = rows[: n_spans * span].reshape(n_spans, span, *rows.shape[1:])[:, :_RUN]
        return runs.reshape(n_spans * _RUN, *rows.shape[1:])


def planned(top_k: int, n_kept: int) -> Sample | None:
    """The sample for a search of the ``top_k`` nearest of ``n_kept`` rows; None if it saves little.

    Without a guess, a search takes about ``top_k * (1 + log(n_kept / top_k))`` rows, each of which
    was among the nearest so far; with a guess, it takes fewer than twice ``top_k``.
    """
    stride = max(_LARGEST_SHARE, top_k // _HITS)
    hits = top_k / stride
    if hits < _FEWEST_HITS or n_kept < _SPARSE * top_k:
        return None
    return Sample(stride, math.ceil(hits + _DEVIATIONS * math.sqrt(hits)))
