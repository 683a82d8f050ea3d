"""Losses by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Final

from hashkit.errors import ConfigError
from hashkit.runs.known_names import OWN_CODE, check_loss_options, split_loss
from hashkit.training.losses.base import LearnsFrom, Loss, LossValue, Task
from hashkit.training.losses.bihalf import BiHalfLoss
from hashkit.training.losses.cibhash import CibHashLoss
from hashkit.training.losses.csq import CsqLoss
from hashkit.training.losses.dch import DchLoss
from hashkit.training.losses.dpn import DpnLoss
from hashkit.training.losses.dpsh import DpshLoss
from hashkit.training.losses.dsh import DshLoss
from hashkit.training.losses.dtsh import DtshLoss
from hashkit.training.losses.greedyhash import GreedyHashLoss
from hashkit.training.losses.hashnet import HashNetLoss
from hashkit.training.losses.multi_similarity import MultiSimilarityLoss
from hashkit.training.losses.orthohash import OrthoHashLoss
from hashkit.training.losses.own import own_loss
from hashkit.training.losses.supcon import SupConLoss
from hashkit.training.losses.triplet import TripletRankingLoss

__all__ = [
    "LOSSES",
    "MAX_TRIPLET_BATCH",
    "LearnsFrom",
    "Loss",
    "LossValue",
    "Task",
    "build_loss",
    "check_batch_size",
    "check_multi_label",
    "find_loss",
    "loss_options",
]

MAX_TRIPLET_BATCH: Final = 512
"""Largest batch of losses that compare all triplets, batch size cubed of them: 0.5 GiB at 512."""

LOSSES: dict[str, type[Loss]] = {
    "triplet": TripletRankingLoss,
    "dpsh": DpshLoss,
    "dtsh": DtshLoss,
    "dsh": DshLoss,
    "hashnet": HashNetLoss,
    "dch": DchLoss,
    "multi-similarity": MultiSimilarityLoss,
    "supcon": SupConLoss,
    "csq": CsqLoss,
    "orthohash": OrthoHashLoss,
    "dpn": DpnLoss,
    "greedyhash": GreedyHashLoss,
    "bihalf": BiHalfLoss,
    "cibhash": CibHashLoss,
}


def find_loss(name: str) -> type[Loss]:
    """Class of a loss by name; the code of the user's own loss is imported.

    Raises
    ------
    ConfigError
        If the name is unknown, or the user's own loss cannot be imported.
    """
    kind, argument = split_loss(name)
    return own_loss(argument) if kind == OWN_CODE else LOSSES[name]


def loss_options(name: str) -> dict[str, float | str | None]:
    """Options of a loss and their defaults; the default of None depends on the task."""
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_batch_size(name: str, batch_size: int) -> None:
    """Raise ConfigError if a loss that learns from labels needs too much memory for its batches."""
    if find_loss(name).takes_triplets and batch_size > MAX_TRIPLET_BATCH:
        raise ConfigError(
            f"`batch_size` must be at most {MAX_TRIPLET_BATCH} with the loss {name}, not "
            f"{batch_size}: it compares all triplets of a batch, which takes memory of the order "
            "of the batch size cubed; give a list of triplets, or use another loss"
        )


def check_multi_label(name: str, *, is_multi_label: bool) -> None:
    """Raise ConfigError if images may have several labels and a loss takes only one."""
    if is_multi_label and not find_loss(name).takes_multi_label:
        able = ", ".join(
            other
            for other, loss in LOSSES.items()
            if loss.takes_multi_label and loss.learns_from == "labels"
        )
        raise ConfigError(
            f"the loss {name} learns from one label per image, and these images have several: "
            f"use one of the losses {able}"
        )


def build_loss(name: str, task: Task, options: Mapping[str, float | str]) -> Loss:
    """Build a loss by name; its random values come from torch's global generator.

    Raises
    ------
    ConfigError
        If the loss does not have one of the options, or cannot learn the task.
    """
    check_loss_options(name, options)
    check_multi_label(name, is_multi_label=task.is_multi_label)
    return find_loss(name)(task, **options)
