"""Binary codes in the forward pass, with a gradient in the backward pass; and relaxed codes."""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "quantisation_errors",
    "relaxed_cosines",
    "relaxed_directions",
    "signs",
    "straight_through",
]

_MIN_NORM: Final = 1e-3
"""Shorter codes are divided by this norm instead: the gradient of the cosine is infinite at 0."""


def signs(logits: Tensor) -> Tensor:
    """Codes of logits: +1 above 0, else -1, as in exported codes (`Tensor.sign` gives 0 for 0)."""
    return torch.where(logits > 0, 1.0, -1.0).to(logits.dtype)


def straight_through(codes: Tensor, relaxed: Tensor) -> Tensor:
    """``codes`` with the gradient of ``relaxed`` (Bengio et al. 2013, arXiv 1308.3432).

    Both are float tensors of the same shape.
    """
    return codes.detach() + (relaxed - relaxed.detach())


def quantisation_errors(logits: Tensor) -> Tensor:
    """Mean over bits of the squared difference from the code, for each image: float [B]."""
    return (logits - signs(logits)).square().mean(dim=1)


def relaxed_directions(logits: Tensor) -> Tensor:
    """Relaxed codes tanh(logits), each divided by its norm: float [B, n_bits]."""
    return F.normalize(logits.tanh(), dim=1, eps=_MIN_NORM)


def relaxed_cosines(logits: Tensor) -> Tensor:
    """Cosines between all pairs of relaxed codes: float [B, B]."""
    directions = relaxed_directions(logits)
    return directions @ directions.T
