"""Cauchy cross-entropy of pairs, which gathers similar images within a small Hamming radius.

Cao, Long, Liu and Wang, *Deep Cauchy Hashing for Hamming Space Retrieval*, CVPR 2018. With
h = tanh(u) of the logits u, K bits, s = 1 for similar and 0 for dissimilar pairs, the weight w of
a pair, all pairs over the pairs of its kind, and gamma the scale::

    d(x, y) = K / 2 (1 - cos(x, y))                                                 (equation 6)
    loss = mean over pairs(w (s log(d(h_i, h_j) / gamma) + log(1 + gamma / d(h_i, h_j))))
         + quantisation * mean over images(log(1 + d(|h|, 1) / gamma))        (equations 7 to 9)

On codes d is the Hamming distance. A pair is similar with the probability gamma / (gamma + d),
which falls off within a few bits, where the sigmoid of an inner product is still flat.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DchLoss"]

_LEAST_BITS: Final = 0.01
"""Added to distances of dissimilar pairs, whose loss and gradient have no limit towards 0."""

# The cosine of shorter codes is taken as if they were so long: at 0 its gradient is infinite.
_MIN_NORM: Final = 1e-3


class DchLoss(Loss):
    """Balanced Cauchy cross-entropy over all pairs of a batch.

    ``active`` is the share of pairs whose cosine is on the wrong side of 0, or 0.

    Parameters
    ----------
    task
        Bits and labels.
    scale
        Distance in bits at which a pair is as likely similar as not, gamma in the paper; 20 is
        that of the authors' code, for any number of bits.
    quantisation
        Weight of the Cauchy quantisation, lambda in the paper.
    """

    def __init__(self, task: Task, *, scale: float = 20.0, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("dch", task)
        self.scale = scale
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        directions = F.normalize(logits.tanh(), dim=1, eps=_MIN_NORM)
        cosines = directions @ directions.T
        distances = self._distances(cosines)
        # s = 1: log(d / gamma) + log(1 + gamma / d) = log(1 + d / gamma)
        similar = (distances / self.scale).log1p()
        dissimilar = (self.scale / (distances + _LEAST_BITS)).log1p()
        costs = torch.where(pairs.similar, similar, dissimilar)
        to_corners = self._distances(directions.abs().sum(dim=1) / self.task.n_bits**0.5)
        errors = (to_corners / self.scale).log1p()
        value = pairs.balanced_mean(costs)
        value = value + self.quantisation * mean_over(errors, pairs.images)
        return LossValue(value, pairs.share_misjudged(cosines))

    def _distances(self, cosines: Tensor) -> Tensor:
        """Relaxed Hamming distances, in bits, of cosines, which rounding may take beyond 1."""
        return self.task.n_bits / 2 * (1 - cosines).clamp(min=0)
