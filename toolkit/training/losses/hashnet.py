"""Weighted likelihood of pairs, by codes that grow sharp as training goes on.

Cao, Long, Wang and Yu, *HashNet: Deep Learning to Hash by Continuation*, ICCV 2017
(arXiv 1702.00758). With h = tanh(beta u) of the logits u, s = 1 for similar and 0 for dissimilar
pairs, and the weight w of a pair, all pairs over the pairs of its kind::

    loss = mean over pairs(w (log(1 + exp(scale h_i . h_j)) - s scale h_i . h_j))

There is no quantisation term: as beta grows, the hyperbolic tangent turns into the sign. A pair
that shares several labels counts as one that shares a single label, as in the authors' code.
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
"""Those of the authors' code: one every 200 of its 10,000 steps."""


class HashNetLoss(Loss):
    """Balanced logistic loss over all pairs of a batch, with continuation.

    ``active`` is the share of pairs whose inner product is on the wrong side of 0, or 0.

    Parameters
    ----------
    task
        Bits and labels.
    scale
        Factor of inner products, alpha in the paper, which keeps the sigmoid from saturating;
        None for 10 over the number of bits, as in the authors' code.

    Attributes
    ----------
    beta
        Factor of the logits, see `sharpness`; 1 until `begin_step` is called.
    """

    def __init__(self, task: Task, *, scale: float | None = None) -> None:
        super().__init__(task)
        check_classes("hashnet", task)
        self.scale = 10 / task.n_bits if scale is None else scale
        self.beta = sharpness(0)

    def begin_step(self, progress: float) -> None:
        """Set how sharp codes are from how much of the run is done, in [0, 1)."""
        self.beta = sharpness(progress)

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        codes = (self.beta * logits).tanh()
        products = codes @ codes.T
        value = pairs.balanced_mean(pairs.logistic_costs(self.scale * products))
        return LossValue(value, pairs.share_misjudged(products))


def sharpness(progress: float) -> float:
    """Factor of the logits, beta in the paper, at a share of the run in [0, 1).

    It is sqrt(1 + stage) for stages 0 to 49 of equal length, as in the authors' code.
    """
    return math.sqrt(1 + math.floor(_STAGES * progress))
