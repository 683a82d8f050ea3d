"""Triplet ranking hinge loss.

Lai et al., *Simultaneous Feature Learning and Hash Coding with Deep Neural Networks*, CVPR 2015
(arXiv 1504.03410), equation 2, for relaxed codes F in [0, 1]^b::

    loss(q, p, n) = max(0, margin + |F(q) - F(p)|^2 - |F(q) - F(n)|^2)

where the query q is more similar to p than to n. For binary codes the squared distance is the
Hamming distance, so ``margin`` is in bits. F is the sigmoid of the logits, followed by the
piece-wise threshold of section 3.2.
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
    """Mean hinge loss over the triplets of a batch (Lai et al. 2015, equation 2).

    ``active`` is the fraction of triplets whose hinge is above 0.

    Parameters
    ----------
    task
        Number of bits and classes.
    margin
        Number of (relaxed) bits by which the dissimilar image must be farther than the similar
        one.
    average
        ``valid``: the mean over all triplets, as in the paper. ``active``: the mean over triplets
        whose hinge is above 0, which keeps the step size when most triplets are satisfied.
    epsilon
        Half-width of the linear zone of `piecewise_threshold`; 0.5 disables the threshold.
    """

    takes_triplets = True

    def __init__(
        self, task: Task, *, margin: float = 2.0, average: str = "active", epsilon: float = 0.5
    ) -> None:
        super().__init__(task)
        if average not in _AVERAGES:
            raise ConfigError(f"unknown average {average!r}; known: {', '.join(_AVERAGES)}")
        if not 0 <= epsilon <= 0.5:
            raise ConfigError(f"`epsilon` must be between 0 and 0.5, not {epsilon}")
        self.margin = margin
        self.average = average
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss over all triplets of a labelled batch.

        (q, p, n) is a triplet if q shares more labels with p than with n.
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
    """Round values to 0 or 1 unless they are near 0.5 (Lai et al. 2015, section 3.2).

    ``g(s)`` is 0 below ``0.5 - epsilon``, ``s`` within ``epsilon`` of 0.5, and 1 above
    ``0.5 + epsilon``. Its gradient is 1 in the middle zone and 0 outside, so bits that are
    decided no longer change.

    Parameters
    ----------
    values
        float of any shape, in [0, 1].
    epsilon
        Half the width of the middle zone, in [0, 0.5]; 0.5 leaves all values unchanged.
    """
    decided = (values > 0.5).to(values.dtype)
    undecided = (values - 0.5).abs() <= epsilon
    return torch.where(undecided, values, decided)


def _squared_distances(codes: Tensor) -> Tensor:
    """Squared distances between all pairs: float [B, B] from float [B, n_bits]."""
    return (codes[:, None, :] - codes[None, :, :]).square().sum(dim=2)
