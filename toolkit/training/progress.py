"""What a training run tells of itself while it runs, and at its end."""

from __future__ import annotations

import dataclasses
from typing import Final

__all__ = ["METRICS_FIELDS", "StepReport", "TrainResult"]

METRICS_FIELDS: Final = (
    "step",
    "epoch",
    "loss",
    "active",
    "learning_rate",
    "images_per_second",
    "seconds",
)
"""Fields of `StepReport` that a line of metrics.jsonl holds."""


@dataclasses.dataclass(frozen=True)
class StepReport:
    """Where a run is, as the progress line shows it.

    Attributes
    ----------
    step, n_steps
        Steps done and to be done.
    epoch
        Epoch now running, from 1.
    loss, active
        Mean loss, and mean share of what it compares that still needs learning, since the last
        line of metrics.jsonl.
    learning_rate
        Of the step.
    images_per_second
        Since the last line of metrics.jsonl.
    seconds
        Wall time of the training so far, that before a resumption included.
    held_out
        Latest score on held-out images; None before the first, or without.
    """

    step: int
    n_steps: int
    epoch: int
    loss: float
    active: float
    learning_rate: float
    images_per_second: float
    seconds: float
    held_out: float | None


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Outcome of `Trainer.fit`.

    Attributes
    ----------
    step, n_steps
        Steps done, and the run's length; fewer are done when it was asked to stop.
    best_step, best_score
        Step and score of the checkpoint that held-out images chose; None without.
    seconds
        Wall time of the training; of a resumed one, in all its parts, each up to the last line of
        metrics.jsonl before its last snapshot.
    images_per_second
        Mean over this call, held-out looks and snapshots included.
    """

    step: int
    n_steps: int
    best_step: int | None
    best_score: float | None
    seconds: float
    images_per_second: float

    @property
    def is_done(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.n_steps
