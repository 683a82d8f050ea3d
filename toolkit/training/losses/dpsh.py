"""Likelihood of pairwise labels.

Li, Wang and Kang, *Feature Learning based Deep Supervised Hashing with Pairwise Labels*, IJCAI
2016 (arXiv 1511.03855). Images i and j with the logits u are similar with the probability
sigmoid(theta), theta = u_i . u_j / 2. With s = 1 for similar and 0 for dissimilar pairs, and the
codes b = sign(u)::

    loss = mean over pairs(log(1 + exp(theta)) - s theta)
         + quantisation * mean over images and bits((u - b)^2)

On codes, theta falls by 1 with each bit that differs.
"""

from __future__ import annotations

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DpshLoss"]


class DpshLoss(Loss):
    """Logistic loss of inner products, over all pairs of a batch.

    ``active`` is the share of pairs whose inner product is on the wrong side of 0, or 0.

    Parameters
    ----------
    task
        Bits and labels.
    quantisation
        Weight of the pull of logits to their codes, eta in the paper. The paper sums over pairs
        and over bits: its 10, for 5,000 training images and 48 bits, is 10 * 48 / 5,000, near
        to 0.1, for these means.
    """

    def __init__(self, task: Task, *, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("dpsh", task)
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        products = logits @ logits.T
        errors = (logits - signs(logits)).square().mean(dim=1)
        value = pairs.mean(pairs.logistic_costs(products / 2))
        value = value + self.quantisation * mean_over(errors, pairs.images)
        return LossValue(value, pairs.share_misjudged(products))
