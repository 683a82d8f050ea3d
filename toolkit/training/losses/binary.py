"""Binary codes in the forward pass, with a gradient in the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["signs", "straight_through"]


def signs(logits: Tensor) -> Tensor:
    """Codes of logits: +1 above 0, else -1, as in exported codes (`Tensor.sign` gives 0 for 0)."""
    return torch.where(logits > 0, 1.0, -1.0).to(logits.dtype)


def straight_through(codes: Tensor, relaxed: Tensor) -> Tensor:
    """``codes`` with the gradient of ``relaxed`` (Bengio et al. 2013, arXiv 1308.3432).

    Both are float tensors of the same shape.
    """
    return codes.detach() + (relaxed - relaxed.detach())
