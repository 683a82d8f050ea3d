"""Progress and result of a training run."""

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
    "confident",
)
"""Fields of `StepReport` that are written to metrics.jsonl, unless they are None."""


@dataclasses.dataclass(frozen=True)
class StepReport:
    """Progress of a run after a step.

    Attributes
    ----------
    step, n_steps
        Steps done, and the total.
    epoch
        Current epoch, from 1.
    loss, active
        Mean loss and mean active fraction (see `hashkit.training.losses.LossValue`) since the last
        line of metrics.jsonl; ``active`` is None if the loss does not have it.
    learning_rate
        Learning rate of the step.
    images_per_second
        Mean since the last line of metrics.jsonl.
    seconds
        Wall time of the training so far, including the time before it was resumed.
    held_out
        Latest score on held-out images; None before the first validation, or without held-out
        images.
    confident
        Mean share of the unlabelled images whose class was trusted, since the last line of
        metrics.jsonl; None without unlabelled images.
    """

    step: int
    n_steps: int
    epoch: int
    loss: float
    active: float | None
    learning_rate: float
    images_per_second: float
    seconds: float
    held_out: float | None
    confident: float | None = None


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """Result of `Trainer.fit`.

    Attributes
    ----------
    step, n_steps
        Steps done, and the total; fewer are done if ``should_stop`` ended the run.
    best_step, best_score
        Step and score of the checkpoint selected on held-out images; None without them.
    seconds
        Wall time of the training. For a resumed run, earlier parts count up to the last line of
        metrics.jsonl before the snapshot.
    images_per_second
        Mean over this call, including validations and snapshots.
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
