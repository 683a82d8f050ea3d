"""Cross-entropy and error of class scores, for one or several labels per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.errors import ConfigError
from hashkit.training.losses.base import Task

__all__ = [
    "check_classes",
    "cross_entropy",
    "fraction_misclassified",
    "is_labelled",
    "is_own_class",
    "mean_over",
]


def is_labelled(targets: Tensor) -> Tensor:
    """Whether each image has a label: bool [B] from int64 [B] or multi-hot uint8 [B, n_classes]."""
    return targets >= 0 if targets.ndim == 1 else (targets != 0).any(dim=1)


def is_own_class(targets: Tensor, n_classes: int) -> Tensor:
    """Classes of each image: bool [B, n_classes], for targets as in `is_labelled`."""
    if targets.ndim == 2:
        return targets > 0
    return targets[:, None] == torch.arange(n_classes, device=targets.device)


def mean_over(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of ``values`` where ``chosen``, float and bool of the same shape; 0 if nowhere."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


def cross_entropy(scores: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean softmax cross-entropy of the images with labels.

    The target of an image with several labels is distributed evenly over them.

    Parameters
    ----------
    scores
        float [B, n_classes].
    targets
        int64 [B] (-1: no label), or uint8 [B, n_classes] multi-hot.
    label_smoothing
        Fraction of the target that is distributed evenly over all classes.
    """
    if targets.ndim == 1:
        total = F.cross_entropy(
            scores,
            targets,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=label_smoothing,
        )
        return total / (targets >= 0).sum().clamp(min=1)
    shares = targets.to(scores.dtype)
    shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1)
    shares = (1 - label_smoothing) * shares + label_smoothing / scores.shape[1]
    return mean_over(-(shares * scores.log_softmax(dim=1)).sum(dim=1), is_labelled(targets))


def fraction_misclassified(scores: Tensor, targets: Tensor) -> Tensor:
    """Fraction of labelled images for which another class scores at least as high as their own.

    Parameters
    ----------
    scores
        float [B, n_classes].
    targets
        As for `cross_entropy`.
    """
    scores = scores.detach()
    own = is_own_class(targets, scores.shape[1])
    best_own = scores.masked_fill(~own, -torch.inf).amax(dim=1)
    best_other = scores.masked_fill(own, -torch.inf).amax(dim=1)
    return mean_over((best_own <= best_other).to(scores.dtype), is_labelled(targets))


def check_classes(loss: str, task: Task) -> None:
    """Raise ConfigError if a loss that needs labels gets images without any."""
    if task.n_classes < 1:
        raise ConfigError(
            f'{loss} learns from labels, and these images have none: use `loss="triplet"` with a '
            'list of triplets, or a loss that needs no labels, such as `loss="cibhash"`'
        )
