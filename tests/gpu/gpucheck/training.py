"""Trainers of the check, with their settings, data and run folders."""

from __future__ import annotations

import shutil
from typing import Any

import torch

from gpucheck.images import open_images
from gpucheck.product import Run, RunConfig, default_input_size, spread_rows
from gpucheck.product_training import (
    TrainConfig,
    Trainer,
    TrainingData,
    choose_device,
    make_config,
    prepare_labelled,
)
from gpucheck.settings import Settings

__all__ = ["config_of", "new_run", "new_trainer", "synchronise", "training_data"]


def config_of(settings: Settings, changes: dict[str, Any], size: int | None = None) -> TrainConfig:
    """Settings of a recipe with changes, for the images of the check."""
    images, _ = open_images(settings)
    return make_config(changes, None if size is None else (size, size), default_input_size(images))


_SMALL = 320
"""Images of a small measurement; every training ends with the logits of all of them."""


def training_data(settings: Settings, config: TrainConfig, *, whole: bool = False) -> TrainingData:
    """The training images, decoded; of a small measurement a part, unless it needs ``whole``."""
    images, split = open_images(settings)
    rows = split.training
    if settings.is_small and not whole:
        rows = rows[spread_rows(len(rows), _SMALL)]
    return prepare_labelled(images.subset(rows), config, protocol=split.protocol)[0]


def new_run(settings: Settings, name: str) -> Run:
    """An empty run folder."""
    folder = settings.work_path / "runs"
    shutil.rmtree(folder / name, ignore_errors=True)
    return Run.create(folder, name, RunConfig())


def new_trainer(settings: Settings, config: TrainConfig, data: TrainingData, name: str) -> Trainer:
    """A trainer on the device, in a new run folder."""
    return Trainer(config, data, new_run(settings, name), choose_device(settings.device))


def synchronise(device: torch.device) -> None:
    """Wait until the GPU is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
