"""Deep supervised hashing (DSH): contrastive loss, with logits pulled to -1 and +1.

Liu, Wang, Shan and Chen, *Deep Supervised Hashing for Fast Image Retrieval*, CVPR 2016. The
paper's relaxed contrastive loss with its regulariser: for logits u, the squared distance
D = |u_i - u_j|^2 of a pair, and y = 0 for similar and 1 for dissimilar pairs::

    loss = mean over pairs((1 - y) D / 2 + y max(0, margin - D) / 2)
         + quantisation * mean over images(sum over bits(||u| - 1|))

For codes of -1 and +1, D is four times the Hamming distance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DshLoss"]


class DshLoss(Loss):
    """Relaxed contrastive loss over all pairs of a batch (Liu et al. 2016).

    ``active`` is the fraction of pairs that are similar but differ in a bit, or dissimilar but
    nearer than the margin.

    Parameters
    ----------
    task
        Number of bits and classes.
    margin
        Squared distance from which dissimilar pairs cost nothing, m in the paper; None for the
        paper's value of twice the number of bits, reached by codes that differ in half of them.
    quantisation
        Weight of the distance of logits from -1 and +1, alpha in the paper. The term is summed
        over bits and averaged over images, as in the authors' code; in the paper's equation it is
        summed over both images of each pair.
    """

    def __init__(
        self, task: Task, *, margin: float | None = None, quantisation: float = 0.01
    ) -> None:
        super().__init__(task)
        check_classes("dsh", task)
        self.margin = 2.0 * task.n_bits if margin is None else margin
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        distances = _squared_distances(logits)
        hinge = (self.margin - distances).clamp(min=0)
        costs = torch.where(pairs.similar, distances, hinge) / 2
        errors = (logits.abs() - 1).abs().sum(dim=1)
        value = pairs.mean(costs) + self.quantisation * mean_over(errors, pairs.images)
        codes = signs(logits.detach())
        differs = codes @ codes.T < self.task.n_bits
        active = torch.where(pairs.similar, differs, hinge > 0)
        return LossValue(value, pairs.mean(active.to(logits.dtype)))


def _squared_distances(logits: Tensor) -> Tensor:
    """Squared distances between all pairs: float [B, B] from float [B, n_bits]."""
    # Computed from differences: with inner products, rounding puts equal logits of 1e4 hundreds
    # apart.
    return torch.cdist(logits, logits, compute_mode="donot_use_mm_for_euclid_dist").square()
