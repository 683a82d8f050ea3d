"""Triplet ranking hinge loss.

Lai et al., CVPR 2015 (arXiv 1504.03410), equation 2, on relaxed codes F in [0, 1]^b::

    loss(q, p, n) = max(0, margin + |F(q) - F(p)|^2 - |F(q) - F(n)|^2)

for a query q that is more similar to p than to n. On binary codes the squared distance is the
Hamming distance, so ``margin`` counts bits. F is the sigmoid of the logits, then the piece-wise
threshold of section 3.2.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from hashkit.errors import ConfigError
from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.similarity import label_overlap

__all__ = ["TripletRankingLoss", "piecewise_threshold"]

_AVERAGES: Final = ("active", "valid")


class TripletRankingLoss(Loss):
    """Mean hinge over the triplets of a batch; ``active`` is the share whose hinge is above 0.

    Parameters
    ----------
    task
        Bits and labels.
    margin
        By how many (relaxed) bits the dissimilar image must be farther than the similar one.
    average
        ``valid``: the mean over all triplets, as in the paper. ``active``: over those whose
        hinge is above 0, which keeps the step's size when most triplets are already satisfied.
    epsilon
        Half-width of the threshold's undecided zone, see `piecewise_threshold`; 0.5 switches it
        off.
    """

    takes_triplets = True

    def __init__(
        self, task: Task, *, margin: float = 2.0, average: str = "active", epsilon: float = 0.5
    ) -> None:
        super().__init__(task)
        if average not in _AVERAGES:
            raise ConfigError(f"unknown average {average!r}; known: {', '.join(_AVERAGES)}")
        if not 0 <= epsilon <= 0.5:
            raise ConfigError(f"epsilon must be between 0 and 0.5, not {epsilon}")
        self.margin = margin
        self.average = average
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss over every triplet that the labels of a batch give.

        (q, p, n) is a triplet when q shares more labels with p than with n.
        """
        codes = self._relax(logits)
        overlap = label_overlap(targets)
        distances = _squared_distances(codes)
        hinge = (self.margin + distances[:, :, None] - distances[:, None, :]).clamp(min=0)
        others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
        valid = overlap[:, :, None] > overlap[:, None, :]
        valid &= others[:, :, None] & others[:, None, :]
        return self._mean(hinge * valid, valid.sum())

    def of_triplets(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over given triplets."""
        query, similar, dissimilar = self._relax(logits)[triplets.T]
        near = (query - similar).square().sum(dim=1)
        far = (query - dissimilar).square().sum(dim=1)
        hinge = (self.margin + near - far).clamp(min=0)
        return self._mean(hinge, torch.tensor(len(triplets)))

    def _relax(self, logits: Tensor) -> Tensor:
        return piecewise_threshold(logits.sigmoid(), self.epsilon)

    def _mean(self, hinge: Tensor, n_triplets: Tensor) -> LossValue:
        n_active = (hinge > 0).sum()
        count = n_triplets if self.average == "valid" else n_active
        return LossValue(hinge.sum() / count.clamp(min=1), n_active / n_triplets.clamp(min=1))


def piecewise_threshold(values: Tensor, epsilon: float) -> Tensor:
    """Push values that are clearly on one side of 0.5 all the way to 0 or 1.

    ``g(s) = 0`` below ``0.5 - epsilon``, ``s`` within ``epsilon`` of 0.5, ``1`` above
    ``0.5 + epsilon`` (Lai et al. 2015, section 3.2). The gradient is that of ``g``: 1 in the
    middle, 0 outside, so a bit that is decided is left alone.

    Parameters
    ----------
    values
        float of any shape, in [0, 1].
    epsilon
        Half the width of the undecided zone, in [0, 0.5]; 0.5 leaves the values as they are.
    """
    decided = (values > 0.5).to(values.dtype)
    undecided = (values - 0.5).abs() <= epsilon
    return torch.where(undecided, values, decided)


def _squared_distances(codes: Tensor) -> Tensor:
    """Squared distances between all pairs: float [B, B] of float [B, n_bits]."""
    return (codes[:, None, :] - codes[None, :, :]).square().sum(dim=2)
