"""HashNet: weighted likelihood of pairs, with codes that become binary during training.

Cao, Long, Wang and Yu, *HashNet: Deep Learning to Hash by Continuation*, ICCV 2017
(arXiv 1702.00758). The loss is the paper's weighted negative log-likelihood of pairs. With
h = tanh(beta u) for logits u, s = 1 for similar and 0 for dissimilar pairs, and w the number of
all pairs divided by the number of pairs of the same kind::

    loss = mean over pairs(w (log(1 + exp(scale h_i . h_j)) - s scale h_i . h_j))

There is no quantisation term: as beta grows, the hyperbolic tangent approaches the sign. Pairs
with several labels in common have the same weight as pairs with one, as in the authors' code.
"""

from __future__ import annotations

import math
from typing import Final

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.classification import check_classes
from hashkit.training.losses.pairs import Pairs

__all__ = ["HashNetLoss", "sharpness"]

_STAGES: Final = 50
"""Values of beta, as in the authors' code: one for each 200 of its 10,000 steps."""


class HashNetLoss(Loss):
    """Balanced logistic loss over all pairs of a batch, with continuation (Cao et al. 2017).

    ``active`` is the fraction of pairs whose inner product is 0 or has the wrong sign.

    Parameters
    ----------
    task
        Number of bits and classes.
    scale
        Factor on the inner products, alpha in the paper, which keeps the sigmoid from saturating;
        None for 10 divided by the number of bits, as in the authors' code.

    Attributes
    ----------
    beta
        Factor on the logits, see `sharpness`; 1 until `begin_step` is called.
    """

    def __init__(self, task: Task, *, scale: float | None = None) -> None:
        super().__init__(task)
        check_classes("hashnet", task)
        self.scale = 10 / task.n_bits if scale is None else scale
        self.beta = sharpness(0)

    def begin_step(self, progress: float) -> None:
        """Set ``beta`` from the fraction of the run done, in [0, 1)."""
        self.beta = sharpness(progress)

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        codes = (self.beta * logits).tanh()
        products = codes @ codes.T
        value = pairs.balanced_mean(pairs.logistic_costs(self.scale * products))
        return LossValue(value, pairs.fraction_misclassified(products))


def sharpness(progress: float) -> float:
    """Factor on the logits, beta in the paper, at a fraction of the run in [0, 1).

    It is sqrt(1 + stage) for stages 0 to 49 of equal length, as in the authors' code.
    """
    return math.sqrt(1 + math.floor(_STAGES * progress))
