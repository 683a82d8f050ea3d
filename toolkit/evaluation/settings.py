"""What an evaluation measures."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import Final, get_args

import numpy as np

from hashkit.errors import ConfigError
from hashkit.evaluation.average_precision import convention_named
from hashkit.evaluation.ndcg import DEFAULT_GAIN, gain_named
from hashkit.evaluation.report import WithoutRelevant
from hashkit.evaluation.scoring import Measures
from hashkit.inputs.arguments import whole_number

__all__ = ["DEFAULT_CUTOFFS", "DEFAULT_KS", "EvaluationSettings"]

DEFAULT_CUTOFFS: Final = (1000, 5000)
"""Default R of ``map_at``; with the convention caffe-dnnh the default is 10,000."""

DEFAULT_KS: Final = (1, 5, 10, 50, 100, 500, 1000)
"""Default k of ``precision_at``, ``recall_at`` and ``ndcg_at``."""

_CAFFE_DNNH_CUTOFFS: Final = (10_000,)
_CURVE_STEPS: Final = 10  # points of the curve by rank per factor of ten


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """The arguments of `hashkit.evaluate` except queries and database; see there.

    Raises
    ------
    ConfigError
        If the convention, the gain or ``without_relevant`` is unknown.
    """

    convention: str = "all-relevant"
    cutoffs: Sequence[int] | None = None
    ks: Sequence[int] | None = None
    ndcg_gain: str = DEFAULT_GAIN
    without_relevant: WithoutRelevant = "zero"
    exclude_self: bool = False

    def __post_init__(self) -> None:
        convention_named(self.convention)
        gain_named(self.ndcg_gain)
        if self.without_relevant not in get_args(WithoutRelevant):
            raise ConfigError(
                f"`without_relevant` must be zero or drop, not {self.without_relevant!r}"
            )

    def measures(self, n_ranked: int) -> Measures:
        """The metrics for rankings of ``n_ranked`` rows.

        Raises
        ------
        ConfigError
            If a cut-off is invalid.
        """
        return Measures(
            self.convention,
            _cutoffs(self.cutoffs, self.convention, n_ranked),
            _ks(self.ks, n_ranked),
            self.ndcg_gain,
            _curve_ks(n_ranked),
        )


def _cutoffs(given: Sequence[int] | None, convention: str, n_ranked: int) -> tuple[int, ...]:
    if given is not None:
        return _positive("cutoffs", given)
    if convention == "caffe-dnnh":
        return _CAFFE_DNNH_CUTOFFS
    return tuple(cutoff for cutoff in DEFAULT_CUTOFFS if cutoff <= n_ranked)


def _ks(given: Sequence[int] | None, n_ranked: int) -> tuple[int, ...]:
    if given is not None:
        return _positive("ks", given)
    return tuple(k for k in DEFAULT_KS if k <= n_ranked)


def _positive(argument: str, values: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({whole_number(value, argument, 1, sys.maxsize) for value in values}))


def _curve_ks(n_ranked: int) -> tuple[int, ...]:
    """Ranks from 1 to the last, evenly spaced on a logarithmic scale."""
    n_steps = int(np.ceil(np.log10(n_ranked) * _CURVE_STEPS))
    ranks = np.rint(np.geomspace(1, n_ranked, n_steps + 1))
    return tuple(sorted({int(rank) for rank in ranks}))
