"""Normalised discounted cumulative gain (NDCG) of Hamming rankings, mean over tie orders.

A row's **grade** is the number of labels it shares with the query. Its **gain** is a function of
the grade (`GAINS`), discounted at rank t by ``1 / log2(1 + t)``. The sum up to rank k is divided
by the sum of the best possible order of the whole database (Jarvelin and Kekalainen, ACM TOIS
2002). The expected gain of a rank is the mean gain of its tie, so the expectation of the sum needs
no sampling of tie orders (McSherry and Najork, ECIR 2008, section 3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ConfigError
from hashkit.evaluation.tied_groups import TiedGroups

__all__ = ["DEFAULT_GAIN", "GAINS", "Gain", "gain_named", "ndcg_at"]

Scores: TypeAlias = NDArray[np.float64]
Gain: TypeAlias = Callable[[Scores], Scores]

_MOST_LABELS: Final = 1000  # 2^1024 is beyond a float64


def _exponential(grades: Scores) -> Scores:
    if len(grades) and grades.max() > _MOST_LABELS:
        raise ConfigError(
            f"exponential gains are defined for up to {_MOST_LABELS} shared labels, but a query "
            f"has {grades.max():.0f}: use linear gains"
        )
    gains: Scores = np.exp2(grades) - 1
    return gains


def _linear(grades: Scores) -> Scores:
    return grades


GAINS: Final[Mapping[str, Gain]] = {"exponential": _exponential, "linear": _linear}
"""Gain of a row that shares g labels: ``2^g - 1``, or ``g``; both are 1 for one shared label."""

DEFAULT_GAIN: Final = "exponential"


def gain_named(name: str) -> Gain:
    """The function named ``name`` in `GAINS`; an unknown name raises `ConfigError`."""
    if name not in GAINS:
        raise ConfigError(f"unknown gain {name!r}; known: {', '.join(GAINS)}")
    return GAINS[name]


def ndcg_at(histograms: NDArray[np.int64], ks: Sequence[int], gain: str = DEFAULT_GAIN) -> Scores:
    """NDCG of the first k ranks, mean over tie orders, for several k.

    Parameters
    ----------
    histograms
        int64 [q, n_grades, n_bits + 1], number of rows by grade and distance.
    ks
        Numbers of ranks to include, each at least 1. Memory is 8 bytes times the largest.
    gain
        A name in `GAINS`.

    Returns
    -------
    NDArray
        float64 [q, len(ks)], 0 for queries without relevant rows.

    Raises
    ------
    ConfigError
        If the gain is unknown, or a k is less than 1.
    """
    gains = gain_named(gain)(np.arange(histograms.shape[1], dtype=np.float64))
    groups = TiedGroups.of_grades(histograms)
    group, ranked = groups.places(ks)
    discounts = _discount_sums(
        min(max(ks, default=0), int(groups.rows_until[:, -1:].max(initial=0)))
    )
    mean_gain = np.tensordot(histograms, gains, axes=(1, 0)) / np.maximum(groups.rows, 1)
    steps = np.diff(_up_to(discounts, groups.rows_until), axis=1, prepend=0.0)
    gained = mean_gain * steps
    gained_before = np.cumsum(gained, axis=1) - gained
    first = np.take_along_axis(groups.rows_before, group, axis=1)
    # Whole groups, and the ranks of the last group before the cut-off.
    reached: Scores = np.take_along_axis(gained_before, group, axis=1) + np.take_along_axis(
        mean_gain, group, axis=1
    ) * (_up_to(discounts, first + ranked) - _up_to(discounts, first))
    ideal = _ideal(histograms.sum(axis=2), gains, discounts, ks)
    return reached / np.where(ideal > 0, ideal, 1.0)


def _ideal(
    rows_of_grade: NDArray[np.int64], gains: Scores, discounts: Scores, ks: Sequence[int]
) -> Scores:
    """Gain of the first k ranks if rows were ordered by grade: float64 [q, len(ks)]."""
    best_first = rows_of_grade[:, :0:-1]  # without grade 0, whose gain is 0
    until = np.cumsum(best_first, axis=1)
    ideal = np.empty((len(rows_of_grade), len(ks)))
    for column, k in enumerate(ks):
        steps = _up_to(discounts, np.minimum(until, k)) - _up_to(
            discounts, np.minimum(until - best_first, k)
        )
        ideal[:, column] = steps @ gains[:0:-1]
    return ideal


def _discount_sums(n_ranks: int) -> Scores:
    """Sum of ``1 / log2(1 + t)`` over the ranks t up to 0, 1, ..., ``n_ranks``."""
    ranks = np.arange(1, n_ranks + 1, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + ranks))])


def _up_to(discounts: Scores, ranks: NDArray[np.int64]) -> Scores:
    """Sums of discounts up to ``ranks``; ranks beyond the table add nothing."""
    sums: Scores = discounts[np.minimum(ranks, len(discounts) - 1)]
    return sums
