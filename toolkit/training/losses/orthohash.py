"""OrthoHash: softmax of cosines to fixed binary centres, with a margin.

Hoe et al., *One Loss for All: Deep Hashing with a Single Cosine Similarity based Learning
Objective*, NeurIPS 2021 (arXiv 2109.14449). The loss is the paper's margin-based cross-entropy of
cosine similarities. With cos_c the cosine between the logits of an image and the centre of class
c, the scale s, the margin m, and the class y of the image::

    loss = -log softmax(s (cos_c - m [c = y]))_y

The cosine with a binary code is largest at that code, so no quantisation term is needed. With
several labels, the margin applies to each of them, and the target is distributed evenly over them.
The paper keeps bits balanced by standardising the logits over a batch before the loss; here the
model does that.
"""

from __future__ import annotations

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.centres import cosines_to_centres, hash_centres
from hashkit.training.losses.classification import (
    check_classes,
    cross_entropy,
    fraction_misclassified,
    is_own_class,
)

__all__ = ["OrthoHashLoss"]


class OrthoHashLoss(Loss):
    """Cross-entropy of scaled cosines to class centres, with a margin (Hoe et al. 2021).

    ``active`` is the fraction of images whose nearest centre is that of another class. The
    paper's centres are rows of a Hadamard matrix or random codes. Here they come from
    `hash_centres`, and for few classes are slightly farther apart than orthogonal.

    Parameters
    ----------
    task
        Number of bits and classes.
    scale
        Factor on the cosines, s in the paper.
    margin
        Amount by which the cosine to the image's centre must exceed the others, m in the paper.
    label_smoothing
        Fraction of the target that is distributed over all classes; not in the paper.
    """

    compares_images = False
    has_centres = True
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
        cosines = self.class_cosines(logits)
        own = is_own_class(targets, self.task.n_classes).to(logits.dtype)
        scores = self.scale * (cosines - self.margin * own)
        value = cross_entropy(scores, targets, self.label_smoothing)
        return LossValue(value, fraction_misclassified(cosines, targets))

    def class_cosines(self, logits: Tensor) -> Tensor:
        """Cosines to the centres of the classes."""
        return cosines_to_centres(logits, self.centres)
