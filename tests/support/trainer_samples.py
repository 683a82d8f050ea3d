"""Shared by the tests of training: settings, comparisons of runs, a loss that remembers."""

from __future__ import annotations

import itertools

import pytest
import torch
from training_samples import (
    WALL_TIME,
    checkpoint_files,
    open_run,
)

from hashkit.runs.run import Run
from hashkit.training import scoring
from hashkit.training.losses import Loss, LossValue
from hashkit.training.trainer import Trainer

# Settings under which the tiny network learns in a second.
LEARNING = {
    "lengths": (16,),
    "margin": 1.0,
    "batch_size": 32,
    "steps": 120,
    "augmentation": "none",
    "validate_epochs": 10,
    "snapshot_steps": 500,
}

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")


def held_out(one: Trainer) -> float:
    """Held-out score of a trainer's current model."""
    return one.score_held_out()


def assert_same_checkpoints(found, expected) -> None:
    assert checkpoint_files(open_run(found)) == checkpoint_files(open_run(expected))


def without_speed(run: Run) -> list[dict]:
    return [
        {name: value for name, value in line.items() if name not in WALL_TIME}
        for line in run.read_metrics()
    ]


def scores(monkeypatch, values):
    """Let validations return these scores."""
    given = iter(values)
    monkeypatch.setattr(scoring, "held_out_score", lambda *_: next(given))


def stop_after(n_steps):
    """A ``should_stop`` that is true after ``n_steps`` steps: it is called before each."""
    calls = itertools.count()
    return lambda: next(calls) >= n_steps


class RememberingLoss(Loss):
    """A loss with a learned parameter and a buffer that counts calls."""

    compares_images = False

    def __init__(self, task):
        super().__init__(task)
        self.weight = torch.nn.Parameter(torch.randn(task.n_bits))
        self.register_buffer("n_calls", torch.tensor(0))
        self.progress = []

    def begin_step(self, progress):
        self.progress.append(progress)

    def forward(self, logits, targets):  # noqa: ARG002
        self.n_calls += 1
        value = ((logits - self.weight) * (1 + 0.1 * self.n_calls)).square().mean()
        return LossValue(value, torch.tensor(1.0))
