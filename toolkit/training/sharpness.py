"""Sharpness-aware minimisation: the gradient at the worst of the nearby weights.

Foret, Kleiner, Mobahi and Neyshabur, *Sharpness-Aware Minimization for Efficiently Improving
Generalization*, ICLR 2021 (arXiv 2010.01412). With the gradient g of the loss at the weights w, a
step uses the gradient at w + e, where e = rho g / |g| (equation 2 with p = 2). To first order,
these are the weights within a radius of rho where the loss is highest; in a flat minimum it is low
there too. A step takes two forward and backward passes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["worst_nearby"]

_LEAST_NORM = 1e-12
"""Added to the norm of the gradient, which may be 0."""


@contextlib.contextmanager
def worst_nearby(module: nn.Module, radius: float) -> Iterator[None]:
    """Move the parameters along their gradients, by ``radius`` in total, and back at the end.

    Meanwhile normalisation layers do not update their running statistics, which are those of the
    weights themselves. Parameters without a gradient stay. The gradients are not changed.

    Parameters
    ----------
    module
        Holds the parameters; their gradients may have any common scale, as in mixed precision.
    radius
        Euclidean length of the move, over all parameters (rho in the paper).
    """
    moved = [parameter for parameter in module.parameters() if parameter.grad is not None]
    # Copies, because subtracting the move would leave rounding errors.
    before = [parameter.detach().clone() for parameter in moved]
    layers = [
        layer for layer in module.modules() if isinstance(layer, _NormBase) and _averages(layer)
    ]
    with torch.no_grad():
        gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
        norms = [gradient.norm() for gradient in gradients]
        if norms:
            factor = radius / (torch.stack(norms).norm() + _LEAST_NORM)
            for parameter, gradient in zip(moved, gradients, strict=True):
                parameter.add_(gradient * factor)
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
        with torch.no_grad():
            for parameter, values in zip(moved, before, strict=True):
                parameter.copy_(values)


def _averages(layer: _NormBase) -> bool:
    return layer.training and layer.track_running_stats
