"""Polarisation loss.

Fan et al., *Deep Polarized Network for Supervised Learning of Accurate Binary Hashing Codes*,
IJCAI 2020. The paper's bit-wise polarization loss, with the target t in {-1, +1} of an image's
class, and the mean over images and bits::

    loss = mean(max(0, margin - h t))

pushes each logit h to its target's side of 0, beyond the margin.
"""

from __future__ import annotations

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.centres import (
    centres_of_images,
    cosines_to_centres,
    random_code,
    spread_centres,
)
from hashkit.training.losses.classification import check_classes, is_labelled, mean_over

__all__ = ["DpnLoss"]


class DpnLoss(Loss):
    """Bit-wise hinge loss towards a target code per class (Fan et al. 2020, polarization loss).

    ``active`` is the fraction of bits whose hinge is above 0. The paper's targets are random
    codes. Here they are moved apart, see `spread_centres`, because short random codes of two
    classes may be nearly equal. The target of an image with several labels is the majority of
    their targets, as in `CsqLoss`.

    Parameters
    ----------
    task
        Number of bits and classes.
    margin
        Smallest logit on the target's side that costs nothing, m in the paper.
    """

    compares_images = False
    has_centres = True
    centres: Tensor
    tie_code: Tensor

    def __init__(self, task: Task, *, margin: float = 1.0) -> None:
        super().__init__(task)
        check_classes("dpn", task)
        self.margin = margin
        self.register_buffer("centres", spread_centres(task.n_classes, task.n_bits))
        self.register_buffer("tie_code", random_code(task.n_bits))

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of labelled images."""
        sides = logits * centres_of_images(targets, self.centres, self.tie_code)
        hinge = (self.margin - sides).clamp(min=0)
        labelled = is_labelled(targets)
        return LossValue(
            mean_over(hinge.mean(dim=1), labelled),
            mean_over((hinge > 0).to(logits.dtype).mean(dim=1), labelled),
        )

    def class_cosines(self, logits: Tensor) -> Tensor:
        """Cosines to the centres of the classes."""
        return cosines_to_centres(logits, self.centres)
