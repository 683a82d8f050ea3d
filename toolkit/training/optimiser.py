"""Stochastic gradient descent over a network's parameter groups."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hashkit.errors import CheckpointError
from hashkit.training.config import TrainConfig
from hashkit.training.model import HashModel

__all__ = ["build_optimiser", "load_momentum", "momentum_of", "set_learning_rate"]


def build_optimiser(model: HashModel, config: TrainConfig) -> torch.optim.SGD:
    """SGD with the network's own factors on learning rate and weight decay."""
    groups = [
        {
            "params": list(group.parameters),
            "lr": config.learning_rate * group.lr_scale,
            "lr_scale": group.lr_scale,
            "weight_decay": config.weight_decay * group.decay_scale,
        }
        for group in model.network.parameter_groups()
    ]
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov
    )


def set_learning_rate(optimiser: torch.optim.SGD, learning_rate: float) -> None:
    """Set the rate of all groups, each by its factor."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]


def momentum_of(model: HashModel, optimiser: torch.optim.SGD) -> dict[str, Tensor]:
    """Momentum buffers by parameter name; empty before the first step."""
    buffers = {}
    for name, parameter in model.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            buffers[name] = buffer
    return buffers


def load_momentum(
    model: HashModel, optimiser: torch.optim.SGD, buffers: Mapping[str, Tensor]
) -> None:
    """Put saved momentum buffers back; none at all are those of a run before its first update.

    Raises
    ------
    CheckpointError
        If a buffer is missing or of another shape.
    """
    # In fp16 the first steps may all have been skipped, because their gradients overflowed.
    if not buffers or not optimiser.defaults["momentum"]:
        return
    for name, parameter in model.named_parameters():
        saved = buffers.get(name)
        if saved is None or saved.shape != parameter.shape:
            raise CheckpointError(f"the checkpoint has no momentum for {name} that fits")
        # A copy laid out like the parameter, as the optimiser itself would have made it.
        buffer = torch.empty_like(parameter)
        buffer.copy_(saved)
        optimiser.state[parameter]["momentum_buffer"] = buffer.detach()
