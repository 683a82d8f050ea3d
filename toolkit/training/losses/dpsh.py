"""Deep pairwise-supervised hashing (DPSH): likelihood of pairwise labels.

Li, Wang and Kang, *Feature Learning based Deep Supervised Hashing with Pairwise Labels*, IJCAI
2016 (arXiv 1511.03855). Images i and j with logits u are similar with probability sigmoid(theta),
theta = u_i . u_j / 2. The loss is the paper's negative log-likelihood of the pairwise labels plus
its quantisation term. With s = 1 for similar and 0 for dissimilar pairs, and codes b = sign(u)::

    loss = mean over pairs(log(1 + exp(theta)) - s theta)
         + quantisation * mean over images and bits((u - b)^2)

For binary codes, theta falls by 1 with each bit that differs.
"""

from __future__ import annotations

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import quantisation_errors
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DpshLoss"]


class DpshLoss(Loss):
    """Logistic loss of inner products over all pairs of a batch (Li, Wang and Kang 2016).

    ``active`` is the fraction of pairs whose inner product is 0 or has the wrong sign.

    Parameters
    ----------
    task
        Number of bits and classes.
    quantisation
        Weight of the quantisation term, eta in the paper. The paper sums over pairs and bits, and
        this loss takes means: the paper's 10, for 5,000 training images and 48 bits, becomes
        10 * 48 / 5,000, about 0.1.
    """

    def __init__(self, task: Task, *, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("dpsh", task)
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        products = logits @ logits.T
        value = pairs.mean(pairs.logistic_costs(products / 2))
        value = value + self.quantisation * mean_over(quantisation_errors(logits), pairs.images)
        return LossValue(value, pairs.fraction_misclassified(products))
