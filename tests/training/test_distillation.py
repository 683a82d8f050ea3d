"""Distillation of similarities from frozen features into codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_samples import open_run

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.training.checks import check_learnable
from hashkit.training.data import FeatureRows, TrainingData
from hashkit.training.losses.relations import relational_distance
from hashkit.training.recipes import settings_of
from hashkit.training.trainer import Trainer


def cosines(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_the_distance_matches_plain_numpy_and_its_gradient():
    rng = np.random.default_rng(0)
    logits, features = rng.normal(size=(6, 5)), rng.normal(size=(6, 9))
    differences = cosines(np.tanh(logits)) - cosines(features)
    expected = np.mean([differences[i, j] ** 2 for i in range(6) for j in range(6) if i != j])
    values, given = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(features)
    assert relational_distance(values, given).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda one: relational_distance(one, given), values)
    assert relational_distance(values[:1], given[:1]).item() == 0


@pytest.mark.end_to_end
def test_distillation_keeps_similarities_that_the_labels_do_not_have(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(120, 12)).astype(np.float32) + 5
    rows = np.arange(120)
    data = TrainingData(FeatureRows(values), rows % 3, None, rows, rows[:0])
    expected = cosines(values - values.mean(axis=0))
    errors = []
    for distill in (0.0, 30.0):
        changes = {"recipe": "open", "lengths": (8, 6), "steps": 30, "learning_rate": 0.05}
        changes |= {"start": "random", "distill": distill, "batch_size": 60}
        config = TrainConfig.from_dict(settings_of(changes)[0])
        one = Trainer(config, data, open_run(tmp_path / f"run{distill:g}"), torch.device("cpu"))
        one.fit()
        with torch.inference_mode():
            logits = one.learner.model.eval()(torch.from_numpy(values)).numpy()
        errors.append(np.square(cosines(logits[:, :8]) - expected).mean())
    assert errors[1] < errors[0] / 2


def test_it_needs_frozen_features():
    with pytest.raises(ConfigError, match=r"^`distill` needs the features of a frozen .* compact:"):
        check_learnable(TrainConfig(distill=0.5), from_triplets=False)
    with pytest.raises(ConfigError, match=r"^`distill` must be between 0 and .*, not -1$"):
        TrainConfig(distill=-1)
