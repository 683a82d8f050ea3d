"""Deep triplet supervised hashing (DTSH): likelihood of triplet labels.

Wang, Shi and Kitani, *Deep Supervised Hashing with Triplet Labels*, ACCV 2016 (arXiv 1612.03900).
The loss is the paper's negative log-likelihood of the triplet labels plus its quantisation term.
For a query q, a similar image p and a dissimilar image n, with logits u,
theta_ij = u_i . u_j / 2 and codes b = sign(u)::

    loss = -mean over triplets(log sigmoid(theta_qp - theta_qn - margin))
         + quantisation * mean over images and bits((u - b)^2)

For binary codes, theta_qp - theta_qn is the number of bits by which n is farther from q than p.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import quantisation_errors
from hashkit.training.losses.classification import mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["DtshLoss"]


class DtshLoss(Loss):
    """Logistic loss of triplets (Wang, Shi and Kitani 2016).

    With labels, the loss uses all triplets of a batch: p shares a label with q, and n shares none.
    ``active`` is the fraction of triplets in which n is not farther than p by more than the
    margin.

    Parameters
    ----------
    task
        Number of bits; number of classes, unless triplets are given.
    margin
        Number of bits by which n should be farther than p, alpha in the paper; None for the
        paper's value of half of the bits.
    quantisation
        Weight of the quantisation term, lambda in the paper. The authors' code sums over bits and
        over the 22,500 triplets that it draws per image, and this loss takes means: the authors'
        100, for 48 bits, becomes 100 * 48 / 22,500, about 0.2.
    """

    takes_triplets = True

    def __init__(
        self, task: Task, *, margin: float | None = None, quantisation: float = 0.2
    ) -> None:
        super().__init__(task)
        self.margin = task.n_bits / 2 if margin is None else margin
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss over all triplets of a labelled batch."""
        pairs = Pairs.of_batch(targets)
        theta = logits @ logits.T / 2
        leads = theta[:, :, None] - theta[:, None, :]
        valid = pairs.similar[:, :, None] & pairs.dissimilar[:, None, :]
        queries_similar = valid.any(dim=2)
        in_triplets = (
            queries_similar.any(dim=1) | queries_similar.any(dim=0) | valid.any(dim=1).any(dim=0)
        )
        return self._loss(logits, leads, valid, in_triplets)

    def of_triplets(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over given triplets."""
        query, similar, dissimilar = logits[triplets.T]
        leads = (query * (similar - dissimilar)).sum(dim=1) / 2
        in_triplets = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
        in_triplets[triplets.flatten()] = True
        return self._loss(logits, leads, torch.ones_like(leads, dtype=torch.bool), in_triplets)

    def _loss(self, logits: Tensor, leads: Tensor, valid: Tensor, in_triplets: Tensor) -> LossValue:
        """Loss of the ``valid`` triplets; ``leads`` are theta_qp - theta_qn, in bits."""
        missing = self.margin - leads
        errors = quantisation_errors(logits)
        value = mean_over(F.softplus(missing), valid)
        value = value + self.quantisation * mean_over(errors, in_triplets)
        return LossValue(value, mean_over((missing >= 0).to(logits.dtype), valid))
