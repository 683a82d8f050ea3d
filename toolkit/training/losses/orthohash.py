"""Cosine-margin softmax to fixed binary centres.

Hoe et al., *One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning
Objective*, NeurIPS 2021 (arXiv 2109.14449). With the cosine between the logits of an image and
the centre of each class, s the scale and m the margin, y the class of the image::

    loss = -log softmax(s (cos_c - m [c = y]))_y

Cosines to binary codes are highest at the codes' own corners, so no quantisation term is needed.
With several labels the margin applies to each of them, and the target is spread evenly over them.
The paper keeps bits balanced by standardising the logits over a batch before the loss, which is
the network's part here.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.centres import hash_centres
from hashkit.training.losses.classification import (
    check_classes,
    cross_entropy,
    is_own_class,
    share_misplaced,
)

__all__ = ["OrthoHashLoss"]

# The cosine of shorter logits is taken as if they were so long: at 0 its gradient is infinite.
_MIN_NORM = 1e-3


class OrthoHashLoss(Loss):
    """Cross-entropy of scaled cosines to the classes' centres, less a margin at the own class.

    ``active`` is the share of images whose nearest centre is not their own. The paper takes
    orthogonal centres, from a Hadamard matrix or of random bits; these are those of
    `hash_centres`, which for few classes are a little farther apart than orthogonal.

    Parameters
    ----------
    task
        Bits and labels.
    scale
        Factor on the cosines, s in the paper.
    margin
        By how much the own centre's cosine must exceed the others', m in the paper.
    label_smoothing
        Share of the target that is spread over all classes; not in the paper.
    """

    compares_images = False
    centres: Tensor

    def __init__(
        self,
        task: Task,
        *,
        scale: float = 8.0,
        margin: float = 0.2,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(task)
        check_classes("orthohash", task)
        self.scale = scale
        self.margin = margin
        self.label_smoothing = label_smoothing
        self.register_buffer("centres", hash_centres(task.n_classes, task.n_bits))

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of labelled images."""
        directions = F.normalize(logits, dim=1, eps=_MIN_NORM)
        cosines = directions @ self.centres.T / self.task.n_bits**0.5
        own = is_own_class(targets, self.task.n_classes).to(logits.dtype)
        scores = self.scale * (cosines - self.margin * own)
        value = cross_entropy(scores, targets, self.label_smoothing)
        return LossValue(value, share_misplaced(cosines, targets))
