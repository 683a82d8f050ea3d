"""Confidence intervals of means over queries, by percentile bootstrap."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["INTERVAL", "bootstrap_interval"]

_LEVEL: Final = 0.95
_RESAMPLES: Final = 2000
_SEED: Final = 0
_DRAWS: Final = 2**15  # drawn at a time: 256 KiB of scores

INTERVAL: Final[dict[str, Any]] = {
    "method": "percentile bootstrap over queries",
    "level": _LEVEL,
    "resamples": _RESAMPLES,
    "seed": _SEED,
}
"""Settings of `bootstrap_interval`, as a report lists them."""


def bootstrap_interval(scores: NDArray[np.float64]) -> list[float] | None:
    """95% confidence interval of the mean score over queries.

    Queries are resampled with replacement, as many as there are, 2,000 times; the interval holds
    the middle 95% of the means (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993,
    chapter 13). It covers the choice of queries only: the database, the codes and the training
    are fixed. The same scores give the same interval.

    Parameters
    ----------
    scores
        float64 [q], one score per query.

    Returns
    -------
    list or None
        [low, high]; None for fewer than two scores.
    """
    if len(scores) < 2:
        return None
    from hashkit.kernels.resampling import draw_scores, generator_state

    state, scores = generator_state(_SEED), np.ascontiguousarray(scores, np.float64)
    means = np.empty(_RESAMPLES)
    at_a_time = max(1, _DRAWS // len(scores))
    for start in range(0, _RESAMPLES, at_a_time):
        n_resamples = min(at_a_time, _RESAMPLES - start)
        drawn = np.empty((n_resamples, len(scores)))
        draw_scores(state, scores, drawn.reshape(-1))
        means[start : start + n_resamples] = drawn.mean(axis=1)
    tail = (1 - _LEVEL) / 2
    interval: list[float] = np.quantile(means, [tail, 1 - tail]).tolist()
    return interval
