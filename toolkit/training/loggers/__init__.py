"""Loggers of trainings by name, and the interface that they share with a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hashkit.training.loggers.base import RunLogger
from hashkit.training.loggers.tensorboard import TensorBoardLogger
from hashkit.training.loggers.wandb import WandbLogger

__all__ = ["LOGGERS", "RunLogger", "TensorBoardLogger", "WandbLogger"]

LOGGERS: Final[Mapping[str, Callable[[], RunLogger]]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}
"""Loggers by name, which is also that of their package and their extra.

Making one imports nothing; starting it does.
"""
