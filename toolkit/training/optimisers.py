"""Optimisers, and parameter groups with their learning rates."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from hashkit.errors import CheckpointError
from hashkit.training.muon import Muon

if TYPE_CHECKING:
    from hashkit.runs.config import TrainConfig
    from hashkit.training.learner import Learner

__all__ = [
    "OPTIMISERS",
    "build_optimiser",
    "centralise_gradients",
    "load_momentum",
    "momentum_of",
    "set_learning_rate",
    "without_momentum",
]


class Sgd(torch.optim.SGD):
    """`torch.optim.SGD`, with a step that does not import torch's compiler.

    The import takes two seconds.
    """

    step = torch.no_grad()(inspect.unwrap(torch.optim.SGD.step))


OPTIMISERS: Final[Mapping[str, Callable[..., torch.optim.Optimizer]]] = {
    "muon": Muon,
    "sgd": Sgd,
}
"""Optimisers by name; called with parameter groups, lr, momentum and nesterov."""

# Torch wraps these methods to keep them out of its compiler, which it imports for that.
for _kind in (Muon, Sgd):
    for _name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        setattr(_kind, _name, inspect.unwrap(getattr(_kind, _name)))


def build_optimiser(learner: Learner, config: TrainConfig) -> torch.optim.Optimizer:
    """Build the optimiser of all trainable parameters.

    Heads and losses have the full learning rate; the stage of the network that is ``d`` stages
    before the heads has ``stage_decay ** d`` times that rate. Weight decay applies to matrices and
    kernels, not to biases and other vectors.
    """
    network = learner.model.network
    stages = list(network.stages())
    parts: list[tuple[nn.Module, float]] = [
        (stage, config.stage_decay ** (len(stages) - index)) for index, stage in enumerate(stages)
    ]
    parts += [(learner.model.heads, 1.0), (learner.losses, 1.0)]
    groups = [
        group
        for part, lr_scale in parts
        for group in _groups(part, lr_scale, lr_scale * network.bias_lr_scale, config)
    ]
    return OPTIMISERS[config.optimiser](
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov
    )


def _groups(
    part: nn.Module, weight_scale: float, vector_scale: float, config: TrainConfig
) -> Iterator[dict[str, Any]]:
    learned = [parameter for parameter in part.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in learned if parameter.ndim > 1]
    vectors = [parameter for parameter in learned if parameter.ndim <= 1]
    for parameters, lr_scale, weight_decay in (
        (weights, weight_scale, config.weight_decay),
        (vectors, vector_scale, 0.0),
    ):
        if parameters:
            yield {
                "params": parameters,
                "lr": config.learning_rate * lr_scale,
                "lr_scale": lr_scale,
                "weight_decay": weight_decay,
            }


@torch.no_grad()
def centralise_gradients(module: nn.Module) -> None:
    """Subtract the mean from the gradient of each row of a matrix and each filter of a kernel.

    Gradient centralisation, equation 1 of Yong, Huang, Hua and Zhang, *Gradient Centralization*,
    ECCV 2020 (arXiv 2004.01461): the sum of the weights of a row or a filter then stays as it is.
    `Muon` turns the momentum of a convolution into a matrix with the same row space, so its steps
    have mean 0 as well; beyond the paper, the common direction of a filter's weights no longer
    takes up one of the matrix's singular values.
    """
    for parameter in module.parameters():
        if parameter.ndim > 1 and parameter.grad is not None:
            dims = tuple(range(1, parameter.ndim))
            parameter.grad.sub_(parameter.grad.mean(dim=dims, keepdim=True))


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the learning rate of all groups, each scaled by its ``lr_scale``."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group["lr_scale"]


def momentum_of(learner: Learner, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Momentum buffers by parameter name; empty before the first step."""
    buffers = {}
    for name, parameter in learner.named_parameters():
        buffer = optimiser.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            buffers[name] = buffer
    return buffers


def without_momentum(learner: Learner, optimiser: torch.optim.Optimizer) -> list[str]:
    """Names of trainable parameters that had no gradient yet, such as those of an unused layer."""
    has_momentum = momentum_of(learner, optimiser)
    return [
        name
        for name, parameter in learner.named_parameters()
        if parameter.requires_grad and name not in has_momentum
    ]


def load_momentum(
    learner: Learner,
    optimiser: torch.optim.Optimizer,
    buffers: Mapping[str, Tensor],
    without: Collection[str] = (),
) -> None:
    """Restore saved momentum buffers; no buffers at all mean a run before its first update.

    Parameters
    ----------
    without
        The parameters of `without_momentum` when the buffers were saved.

    Raises
    ------
    CheckpointError
        If a buffer is missing or has another shape.
    """
    # In fp16 all steps so far may have been skipped, because their gradients overflowed.
    if not buffers or not optimiser.defaults["momentum"]:
        return
    for name, parameter in learner.named_parameters():
        saved = buffers.get(name)
        if not parameter.requires_grad or (saved is None and name in without):
            continue
        if saved is None or saved.shape != parameter.shape:
            found = "none" if saved is None else list(saved.shape)
            raise CheckpointError(
                f"the checkpoint needs a momentum buffer of shape {list(parameter.shape)} for "
                f"{name}, found {found}: it is damaged or of another network"
            )
        # A copy with the memory layout of the parameter, as the optimiser creates it.
        buffer = torch.empty_like(parameter)
        buffer.copy_(saved)
        optimiser.state[parameter]["momentum_buffer"] = buffer.detach()
