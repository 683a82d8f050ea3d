"""Which images of a batch are more alike than which others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["label_overlap"]


def label_overlap(labels: Tensor) -> Tensor:
    """Number of labels that each pair of images shares.

    Parameters
    ----------
    labels
        int64 [B], one label an image (-1: none, shared with nobody), or uint8 [B, n_classes],
        multi-hot.

    Returns
    -------
    Tensor
        float32 [B, B], whole numbers.
    """
    if labels.ndim == 1:
        same = (labels[:, None] == labels[None, :]) & (labels >= 0)[:, None]
        return same.to(torch.float32)
    # Sums of 0 and 1 are exact in float32, for which matrix products are fast everywhere.
    hot = labels.to(torch.float32)
    return hot @ hot.T
