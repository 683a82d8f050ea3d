"""Muon: gradient descent with orthogonalised steps for convolutions.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024. The momentum of a
convolution, as a matrix with one row per filter, is replaced by the nearest (semi-)orthogonal
matrix, found by the Newton-Schulz iteration. In this variant the step has ``lr`` times the norm of
the weights, and the weights are then rescaled to their previous norm. So a step rotates the
weights by about the learning rate, whatever the scale of the gradient and the layer; networks
without normalisation layers gain most from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, overload

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

_N_ITERATIONS: Final = 3
"""Enough for training (Jordan 2024 uses 3 to 5); each costs three matrix products."""

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic polynomial that moves singular values near 1 (Jordan 2024)."""


class Muon(torch.optim.Optimizer):
    """Muon for convolutions, and stochastic gradient descent for all other parameters.

    Parameters
    ----------
    groups
        Parameters, or parameter groups.
    lr
        Learning rate; for a convolution the angle of a step, in radians.
    momentum, nesterov
        As in `torch.optim.SGD`.
    weight_decay
        As in `torch.optim.SGD`; not used for convolutions, whose norm is constant.
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
        """Take one step; ``closure``, if given, first computes the loss and gradients again."""
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
            _rotate(parameter, gradient, group["lr"])
        else:
            parameter.sub_(gradient, alpha=group["lr"])


def _rotate(weights: Tensor, gradient: Tensor, angle: float) -> None:
    """Rotate a convolution's weights against a gradient, keeping their norm."""
    norm = weights.norm()
    step = orthogonalised(gradient.flatten(1)).view_as(weights)
    weights.sub_(step * (angle * norm / (step.norm() + 1e-12)))
    weights.mul_(norm / (weights.norm() + 1e-12))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Matrix with the singular vectors of ``matrix`` and singular values near 1.

    float [n, m] -> float [n, m]; the singular values are between about 0.7 and 1.2.
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
