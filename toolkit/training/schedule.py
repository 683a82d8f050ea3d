"""Learning rate as a function of the step only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["SCHEDULES", "learning_rate"]


def _constant(_progress: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _one_cycle(progress: float) -> float:
    """Rise from 1/25 to 1 over 30 %, then fall to 0, by cosine (Smith and Topin 2017)."""
    rise = 0.3
    if progress < rise:
        return 0.04 + 0.96 * 0.5 * (1.0 - math.cos(math.pi * progress / rise))
    return _cosine((progress - rise) / (1.0 - rise))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "multistep": _constant,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
}


def learning_rate(
    step: int,
    n_steps: int,
    *,
    base: float,
    schedule: str,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
    n_warmup: int = 0,
) -> float:
    """Learning rate of step ``step`` (from 0) of ``n_steps``.

    Parameters
    ----------
    base
        Peak learning rate.
    schedule
        A name of `SCHEDULES`.
    milestones
        For ``multistep``: fractions of the run, in (0, 1), at each of which the rate is multiplied
        by ``gamma``.
    n_warmup
        Steps over which the rate rises from 0, with any schedule.
    """
    progress = step / max(1, n_steps)
    factor = SCHEDULES[schedule](progress)
    if schedule == "multistep":
        factor *= gamma ** sum(progress >= milestone for milestone in milestones)
    if step < n_warmup:
        factor *= (step + 1) / n_warmup
    return base * factor
