"""Heads on frozen features that start as ITQ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hashkit.codes import binarize
from hashkit.errors import ConfigError
from hashkit.features.fitting import fit_head
from hashkit.features.head import head_from_tensors
from hashkit.runs.config import TrainConfig
from hashkit.training.data import FeatureRows, TrainingData
from hashkit.training.learner import Learner
from hashkit.training.recipes import settings_of


def features_of(n_images: int) -> TrainingData:
    rng = np.random.default_rng(0)
    scales = np.linspace(3, 0.1, 12)
    values = (rng.normal(size=(n_images, 12)) * scales + 5).astype(np.float32)
    labels = np.arange(n_images) % 3
    rows = np.arange(n_images)
    return TrainingData(FeatureRows(values), labels, None, rows[20:], rows[:20])


def of_recipe(**changes: object) -> TrainConfig:
    return TrainConfig.from_dict(settings_of({"recipe": "open", "lengths": (8, 4)} | changes)[0])


def test_before_its_first_step_a_model_has_the_codes_of_itq() -> None:
    data = features_of(120)
    config = of_recipe(standardise=False)
    model = Learner.build(config, data).model.eval()
    values = data.pixels.batch(np.arange(120))
    with torch.inference_mode():
        logits = np.split(model(values).numpy(), [8], axis=1)
    seen = data.pixels.batch(data.fit_rows()).numpy()  # not the held-out images
    for found, n_bits in zip(logits, (8, 4), strict=True):
        head = head_from_tensors(fit_head("itq", seen, n_bits, config.seed), has_cosine=False)
        np.testing.assert_allclose(found, head(values.numpy()), atol=1e-4)
        assert 0.2 < np.unpackbits(binarize(found)).mean() < 0.8


def test_starting_as_itq_needs_linear_heads_on_features_and_enough_directions() -> None:
    for changes in ({"hidden": 8}, {"network": "compact"}):
        with pytest.raises(ConfigError, match=r'^`start="itq"` needs a loss and linear heads'):
            of_recipe(**changes)
    with pytest.raises(ConfigError, match=r"^each bit needs a principal component"):
        Learner.build(of_recipe(lengths=(32,)), features_of(120))
