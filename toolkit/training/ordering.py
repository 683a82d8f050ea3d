"""The order of a run's batches, by its settings."""

from __future__ import annotations

from typing import Final

import numpy as np

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.training.data import TrainingData
from hashkit.training.losses import find_loss
from hashkit.training.sampling import BatchOrder

__all__ = ["batch_order"]

_LEAST_TOGETHER: Final = 4
"""Least number of images of a class that stay together, if the settings do not say."""


def batch_order(config: TrainConfig, data: TrainingData) -> BatchOrder:
    """Order of the training items.

    Raises
    ------
    ConfigError
        If balanced batches are set, and the items do not have one label each.
    """
    labels = data.fit_labels()
    is_balanced = config.sampler == "balanced"
    if is_balanced and labels is None:
        what = "a list of triplets" if data.triplets is not None else "no or several labels"
        raise ConfigError(
            '`sampler="balanced"` needs images with one label each, found '
            f'{what}: use `sampler="shuffled"`'
        )
    n_classes = 0 if labels is None else len(np.unique(labels))
    together = config.images_per_class or max(
        _LEAST_TOGETHER, config.batch_size // max(1, n_classes)
    )
    if is_balanced:
        together = min(together, config.batch_size // 2)
    elif labels is None or not find_loss(config.loss).compares_images:
        together = 1
    return BatchOrder(
        n_items=len(data.fit_items),
        batch_size=config.batch_size,
        seed=config.seed,
        labels=labels,
        group_size=together,
        n_classes=min(n_classes, config.batch_size // together) if is_balanced else 0,
    )
