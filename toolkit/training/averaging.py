"""The average of the weights over the steps of a training.

A moving average with decay d of the weights w_1, w_2, ... is, without the bias towards its initial
value (Kingma and Ba, *Adam*, ICLR 2015, section 3)::

    a_t = a_(t-1) + (w_t - a_(t-1)) (1 - d) / (1 - d^t)

so a_1 = w_1, and the weight of a step falls by d with each later one. At any time in a training, it
has much of the effect of a lower learning rate (Morales-Brotons, Vogels and Hendrikx, *Exponential
Moving Average of Weights in Deep Learning*, TMLR 2024, arXiv 2411.18704). So it can be validated
and selected at any time, like the weights themselves. A mean over the last part of a run (Izmailov
et al., UAI 2018) cannot. Statistics of normalisation layers are not averaged: they are
computed from images, with the averaged weights (`hashkit.training.statistics`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hashkit.errors import CheckpointError

__all__ = ["WeightAverage"]


class WeightAverage:
    """The moving average of a module's trainable parameters.

    Parameters
    ----------
    module
        Its parameters that are trained.
    decay
        Decay per step, in (0, 1); 0 for no average: `used` then changes nothing.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {
            name: parameter
            for name, parameter in module.named_parameters()
            if decay and parameter.requires_grad
        }
        self._averages = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Add the weights after ``step`` steps, from 1."""
        if not self._averages:
            return
        weight = (1 - self._decay) / (1 - self._decay**step)
        torch._foreach_lerp_(list(self._averages.values()), list(self._parameters.values()), weight)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Use the averages as the module's parameters, and restore the weights at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def weights(self) -> dict[str, Tensor]:
        """The weights in training by name, while averages are `used`; empty without averages."""
        return dict(self._averages)

    def restore(self, weights: Mapping[str, Tensor], path: Path) -> None:
        """Continue from the averages, which the module has, and the weights in training.

        Parameters
        ----------
        weights
            The weights in training, by name.
        path
            The checkpoint that they are from, for messages.

        Raises
        ------
        CheckpointError
            If a tensor is missing or has another shape.
        """
        for name, parameter in self._parameters.items():
            saved = weights.get(name)
            if saved is None or saved.shape != parameter.shape:
                found = "none" if saved is None else list(saved.shape)
                raise CheckpointError(
                    f"{path}: expected the weights of {name} in training, of shape "
                    f"{list(parameter.shape)}, beside their average, found {found}: train a new run"
                )
            self._averages[name].copy_(parameter.detach())
            with torch.no_grad():
                parameter.copy_(saved)

    def _exchange(self) -> None:
        # Only the memory is exchanged: the optimiser keeps its parameters.
        for name, parameter in self._parameters.items():
            self._averages[name], parameter.data = parameter.data, self._averages[name]
