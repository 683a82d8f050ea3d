"""Central similarity quantisation.

Yuan et al., *Central Similarity Quantization for Efficient Image and Video Retrieval*, CVPR 2020
(arXiv 1908.00347). For relaxed bits h in [0, 1] and the hash centre c in {0, 1} of an image, with
means over images and bits::

    central similarity = -mean(c log h + (1 - c) log(1 - h))                (equation 5)
    quantisation       = mean(log cosh(|2 h - 1| - 1))                      (equation 6, smoothed)

As in the authors' code, 2 h - 1 is the hyperbolic tangent of the logit, so h is the sigmoid of
twice the logit.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs
from hashkit.training.losses.centres import (
    centres_of_images,
    cosines_to_centres,
    hash_centres,
    random_code,
)
from hashkit.training.losses.classification import check_classes, is_labelled, mean_over

__all__ = ["CsqLoss"]


class CsqLoss(Loss):
    """Binary cross-entropy between codes and hash centres (Yuan et al. 2020, equations 5 and 6).

    ``active`` is the fraction of bits that differ from the centre's. The centres are those of
    `hash_centres`; the centre of an image with several labels is the majority of their centres.

    Parameters
    ----------
    task
        Number of bits and classes.
    quantisation
        Weight of the quantisation term; 0.05 is the value in the authors' code.
    """

    compares_images = False
    has_centres = True
    centres: Tensor
    tie_code: Tensor

    def __init__(self, task: Task, *, quantisation: float = 0.05) -> None:
        super().__init__(task)
        check_classes("csq", task)
        self.quantisation = quantisation
        self.register_buffer("centres", hash_centres(task.n_classes, task.n_bits))
        self.register_buffer("tie_code", random_code(task.n_bits))

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of labelled images."""
        centres = centres_of_images(targets, self.centres, self.tie_code)
        # -log sigmoid(x) = softplus(-x), which does not overflow.
        similarity = F.softplus(-2 * logits * centres).mean(dim=1)
        undecided = logits.tanh().abs() - 1
        quantisation = undecided.cosh().log().mean(dim=1)
        labelled = is_labelled(targets)
        value = mean_over(similarity + self.quantisation * quantisation, labelled)
        wrong = (signs(logits) != centres).to(logits.dtype).mean(dim=1)
        return LossValue(value, mean_over(wrong, labelled))

    def class_cosines(self, logits: Tensor) -> Tensor:
        """Cosines to the centres of the classes."""
        return cosines_to_centres(logits, self.centres)
