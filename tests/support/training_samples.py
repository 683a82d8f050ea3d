"""A network with a few thousand weights, and small training sets, for fast tests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.datasets.digits import open_digits
from hashkit.datasets.imageset import ImageSet
from hashkit.runs import known_names
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.training.data import TrainingData
from hashkit.training.losses import LOSSES, Loss, loss_options
from hashkit.training.networks import NETWORKS, Network, NetworkKind
from hashkit.training.prepare import prepare_labelled, prepare_triplets, prepare_unlabelled
from hashkit.training.trainer import Trainer

CPU = torch.device("cpu")

WALL_TIME = {"images_per_second", "seconds"}
"""Fields of metrics.jsonl that depend on the clock."""


class TinyNetwork(Network):
    """Two stages, a convolution and a linear layer with dropout between them, for 8x8 images."""

    n_features = 64

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.convolution = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        self.linear = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(128, 64), nn.ReLU()
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.linear(self.convolution(images))
        return features

    def stages(self) -> Sequence[nn.Module]:
        return [self.convolution, self.linear]


TINY = NetworkKind("for tests", lambda _, dropout, __: TinyNetwork(dropout))


def settings(**changes: Any) -> TrainConfig:
    """Settings of a short run of the tiny network, with all kinds of randomness enabled."""
    values = {
        "network": "tiny",
        "lengths": (12,),
        "height": 8,
        "width": 8,
        "dropout": 0.2,
        "loss": "triplet",
        "batch_size": 16,
        "steps": 12,
        "optimiser": "sgd",
        "learning_rate": 0.02,
        "nesterov": False,
        "clip_norm": 1.0,
        "cutout": 0.0,
        "holdout": 0.2,
        "validate_epochs": 1,
        "snapshot_steps": 3,
        "display_steps": 3,
        **changes,
    }
    return TrainConfig(**values)


def digits(n_images: int = 80) -> ImageSet:
    """The first images of the handwritten digits."""
    return _all_digits().subset(np.arange(n_images))


_all_digits = functools.cache(open_digits)


def digit_data(config: TrainConfig, n_images: int = 80) -> TrainingData:
    """Training data of the first digits."""
    return prepare_labelled(digits(n_images), config)[0]


def digit_triplets(n_images: int, n_triplets: int) -> tuple[ImageSet, NDArray[np.int64]]:
    """Unlabelled digits and triplets of rows: query, the same digit, another digit."""
    images = digits(n_images)
    rng = np.random.default_rng(0)
    assert images.labels is not None
    rows: list[tuple[int, int, int]] = []
    while len(rows) < n_triplets:
        query, similar, dissimilar = (int(row) for row in rng.integers(0, n_images, 3))
        labels = images.labels[[query, similar, dissimilar]]
        if query != similar and labels[0] == labels[1] != labels[2]:
            rows.append((query, similar, dissimilar))
    unlabelled = ImageSet("triplets", images.names, pixels=images.pixels)
    return unlabelled, np.array(rows, dtype=np.int64)


def triplet_data(config: TrainConfig, n_images: int = 80, n_triplets: int = 200) -> TrainingData:
    """Training data of a triplet list."""
    return prepare_triplets(*digit_triplets(n_images, n_triplets), config)[0]


def unlabelled_data(config: TrainConfig, n_images: int = 80) -> TrainingData:
    """Training data of the first digits without their labels."""
    return prepare_unlabelled(digits(n_images), config)[0]


def open_run(path: Path) -> Run:
    """Open the run folder of a path; create it if it is missing or incomplete."""
    if Run(path).config_path.is_file():
        return Run.open(path)
    return Run.create(path.parent, path.name, RunConfig())


def checkpoint_files(run: Run) -> dict[str, bytes]:
    """Bytes of a run's checkpoints by file name."""
    return {path.name: path.read_bytes() for path in run.checkpoints_path.iterdir()}


def trainer(config: TrainConfig, data: TrainingData, path: Path) -> Trainer:
    """A trainer on the CPU; creates the run folder if it is missing."""
    return Trainer(config, data, open_run(path), CPU)


def add_loss(patch: pytest.MonkeyPatch, name: str, loss: type[Loss]) -> None:
    """Register a loss for one test."""
    patch.setitem(LOSSES, name, loss)
    patch.setitem(known_names.LOSSES, name, tuple(loss_options(name)))


def add_network(patch: pytest.MonkeyPatch, name: str, kind: NetworkKind) -> None:
    """Register a network for one test."""
    patch.setitem(NETWORKS, name, kind)
    patch.setitem(known_names.NETWORKS, name, kind.takes_argument)
