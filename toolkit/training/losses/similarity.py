"""Similarity of the images of a batch by their labels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["label_overlap"]


def label_overlap(labels: Tensor) -> Tensor:
    """Number of labels that each pair of images shares.

    Parameters
    ----------
    labels
        int64 [B], one label per image (-1: none, shared with no image), or uint8 [B, n_classes],
        multi-hot.

    Returns
    -------
    Tensor
        float32 [B, B], whole numbers.
    """
    if labels.ndim == 1:
        same = (labels[:, None] == labels[None, :]) & (labels >= 0)[:, None]
        return same.to(torch.float32)
    # Sums of 0 and 1 are exact in float32, and float32 matrix products are fast on all devices.
    hot = labels.to(torch.float32)
    return hot @ hot.T
