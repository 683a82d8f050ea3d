"""Muon: gradient descent whose steps move all directions of a weight matrix alike.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024. The momentum of a
convolution, seen as a matrix of one row a filter, is replaced by the nearest (semi-)orthogonal
matrix, found by the Newton-Schulz iteration. Here the step is then given the length ``lr`` times
the weights' norm, and the weights are brought back to the norm they had, so that a step turns
them by the learning rate whatever the scale of gradient and layer. That is what networks without
normalisation layers gain most from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

_N_ITERATIONS: Final = 3
"""Enough for training (Jordan 2024 takes 3 to 5); each costs three matrix products."""

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Of the fifth-degree polynomial that brings all singular values near 1 quickly (Jordan 2024)."""


class Muon(torch.optim.Optimizer):
    """Muon for convolutions, and stochastic gradient descent for everything else.

    Parameters
    ----------
    groups
        Parameters, or groups of them.
    lr
        Learning rate; for a convolution the angle of a step, in radians.
    momentum, nesterov
        As of `torch.optim.SGD`.
    weight_decay
        Likewise; convolutions, whose norm stays, have none.
    """

    def __init__(
        self,
        groups: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
        }
        super().__init__(groups, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step, after computing the loss anew if ``closure`` does so."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        is_convolution = parameter.ndim == 4
        if group["weight_decay"] and not is_convolution:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
            gradient = (
                gradient.add(buffer, alpha=group["momentum"]) if group["nesterov"] else buffer
            )
        if is_convolution:
            _turn(parameter, gradient, group["lr"])
        else:
            parameter.sub_(gradient, alpha=group["lr"])


def _turn(weights: Tensor, gradient: Tensor, angle: float) -> None:
    """Turn a convolution's weights against a gradient, at the norm that they have."""
    norm = weights.norm()
    step = orthogonalised(gradient.flatten(1)).view_as(weights)
    weights.sub_(step * (angle * norm / (step.norm() + 1e-12)))
    weights.mul_(norm / (weights.norm() + 1e-12))


def orthogonalised(matrix: Tensor) -> Tensor:
    """A matrix whose singular vectors are those of ``matrix`` and whose singular values are near 1.

    float [n, m] -> float [n, m]; values come out between about 0.7 and 1.2.
    """
    a, b, c = _COEFFICIENTS
    values = matrix / (matrix.norm() + 1e-12)
    is_tall = len(values) > values.shape[1]
    if is_tall:
        values = values.T
    for _ in range(_N_ITERATIONS):
        gram = values @ values.T
        values = a * values + (b * gram + c * gram @ gram) @ values
    result: Tensor = values.T if is_tall else values
    return result
