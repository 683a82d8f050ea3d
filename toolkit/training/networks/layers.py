"""Layers that the DNNH networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DivideAndEncode", "piecewise_threshold"]


class DivideAndEncode(nn.Module):
    """One small fully connected layer a bit (Lai et al. 2015, section 3.2).

    The features are cut into ``n_bits`` slices of ``slice_size`` and each slice alone makes one
    bit, which keeps the bits from repeating each other.

    Shapes: float [N, n_bits * slice_size] -> float [N, n_bits], before the sigmoid.
    """

    def __init__(self, n_bits: int, slice_size: int) -> None:
        super().__init__()
        self.n_bits = n_bits
        self.slice_size = slice_size
        self.weight = nn.Parameter(torch.empty(n_bits, slice_size))
        self.bias = nn.Parameter(torch.zeros(n_bits))

    def forward(self, features: Tensor) -> Tensor:
        """Logits of features."""
        slices = features.reshape(-1, self.n_bits, self.slice_size)
        return (slices * self.weight).sum(dim=2) + self.bias


def piecewise_threshold(values: Tensor, epsilon: float) -> Tensor:
    """Push values that are clearly on one side of 0.5 all the way to 0 or 1.

    ``g(s) = 0`` below ``0.5 - epsilon``, ``s`` within ``epsilon`` of 0.5, ``1`` above
    ``0.5 + epsilon`` (Lai et al. 2015, section 3.2). The gradient is that of ``g``: 1 in the
    middle, 0 outside, so a bit that is decided is left alone.

    Parameters
    ----------
    values
        float of any shape, in [0, 1].
    epsilon
        Half the width of the undecided zone, in [0, 0.5]; 0.5 leaves the values as they are.
    """
    decided = (values > 0.5).to(values.dtype)
    undecided = (values - 0.5).abs() <= epsilon
    return torch.where(undecided, values, decided)
