"""Cauchy cross-entropy of pairs, which concentrates similar images in a small Hamming radius.

Cao, Long, Liu and Wang, *Deep Cauchy Hashing for Hamming Space Retrieval*, CVPR 2018. With
h = tanh(u) for logits u, K bits, the scale gamma, s = 1 for similar and 0 for dissimilar pairs,
and w the number of all pairs divided by the number of pairs of the same kind::

    d(x, y) = K / 2 (1 - cos(x, y))                                                 (equation 6)
    loss = mean over pairs(w (s log(d(h_i, h_j) / gamma) + log(1 + gamma / d(h_i, h_j))))
         + quantisation * mean over images(log(1 + d(|h|, 1) / gamma))        (equations 7 to 9)

For binary codes, d is the Hamming distance. A pair is similar with probability
gamma / (gamma + d), which falls off within a few bits, where the sigmoid of an inner product is
still flat.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import relaxed_directions
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DchLoss"]

_MIN_DISTANCE: Final = 0.01
"""Bits added to the distance of dissimilar pairs: loss and gradient are unbounded near 0."""


class DchLoss(Loss):
    """Balanced Cauchy cross-entropy over all pairs (Cao et al. 2018, equations 6 to 9).

    ``active`` is the fraction of pairs whose cosine is 0 or has the wrong sign.

    Parameters
    ----------
    task
        Number of bits and classes.
    scale
        Distance in bits at which a pair is similar with probability 1/2, gamma in the paper; 20
        is the value in the authors' code for any number of bits.
    quantisation
        Weight of the Cauchy quantisation loss, lambda in the paper.
    """

    def __init__(self, task: Task, *, scale: float = 20.0, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("dch", task)
        self.scale = scale
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        directions = relaxed_directions(logits)
        cosines = directions @ directions.T
        distances = self._distances(cosines)
        # s = 1: log(d / gamma) + log(1 + gamma / d) = log(1 + d / gamma)
        similar = (distances / self.scale).log1p()
        dissimilar = (self.scale / (distances + _MIN_DISTANCE)).log1p()
        costs = torch.where(pairs.similar, similar, dissimilar)
        to_corners = self._distances(directions.abs().sum(dim=1) / self.task.n_bits**0.5)
        errors = (to_corners / self.scale).log1p()
        value = pairs.balanced_mean(costs)
        value = value + self.quantisation * mean_over(errors, pairs.images)
        return LossValue(value, pairs.fraction_misclassified(cosines))

    def _distances(self, cosines: Tensor) -> Tensor:
        """Relaxed Hamming distances in bits, from cosines that may exceed 1 by rounding."""
        return self.task.n_bits / 2 * (1 - cosines).clamp(min=0)
