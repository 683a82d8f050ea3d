"""Multi-similarity loss: pairs weighted by their own similarity and by that of their neighbours.

Wang, Han, Huang, Dong and Scott, *Multi-Similarity Loss with General Pair Weighting for Deep
Metric Learning*, CVPR 2019 (arXiv 1904.06627). With h = tanh(u) for logits u, the cosine S_ij of
h_i and h_j, P_i the similar and N_i the dissimilar images of image i that mining keeps, and
codes b = sign(u)::

    loss = mean over images(log(1 + sum over k in P_i of exp(-alpha (S_ik - lambda))) / alpha
                          + log(1 + sum over k in N_i of exp(beta (S_ik - lambda))) / beta)
         + quantisation * mean over images and bits((u - b)^2)

Mining (section 4.1) keeps a dissimilar image if S_ij > min over similar k of S_ik - epsilon, and a
similar one if S_ij < max over dissimilar k of S_ik + epsilon: pairs that are in the right order
already, by more than epsilon, are left alone. The quantisation term is not in the paper, whose
embeddings are not codes; it is that of DPSH.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import quantisation_errors, relaxed_cosines
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["MultiSimilarityLoss"]

_SCALE_OF_SIMILAR: Final = 2.0
"""alpha, in the paper and in the authors' code."""


class MultiSimilarityLoss(Loss):
    """Multi-similarity loss over the mined pairs of a batch (Wang et al. 2019).

    ``active`` is the fraction of pairs that mining keeps. Images without a similar or without a
    dissimilar one add 0 to the mean.

    Parameters
    ----------
    task
        Number of bits and classes.
    scale
        Factor on the cosines of dissimilar pairs, beta in the paper.
    margin
        Cosine above which similar pairs, and below which dissimilar ones, weigh little, lambda in
        the paper. 0.5 is the value in the authors' code; at the paper's 1, dissimilar codes are
        hardly moved apart.
    epsilon
        Cosine by which pairs may be in the right order and still be kept by mining.
    quantisation
        Weight of the quantisation term.
    """

    def __init__(
        self,
        task: Task,
        *,
        scale: float = 50.0,
        margin: float = 0.5,
        epsilon: float = 0.1,
        quantisation: float = 0.1,
    ) -> None:
        super().__init__(task)
        check_classes("multi-similarity", task)
        self.scale = scale
        self.margin = margin
        self.epsilon = epsilon
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        cosines = relaxed_cosines(logits)
        near, far = self._mined(cosines.detach(), pairs)
        excess = cosines - self.margin
        costs = _soft_sum(-_SCALE_OF_SIMILAR * excess, near) / _SCALE_OF_SIMILAR
        costs = costs + _soft_sum(self.scale * excess, far) / self.scale
        value = mean_over(costs, pairs.images)
        value = value + self.quantisation * mean_over(quantisation_errors(logits), pairs.images)
        return LossValue(value, pairs.mean((near | far).to(logits.dtype)))

    def _mined(self, cosines: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Similar and dissimilar pairs that mining keeps: bool [B, B] each, by image and pair."""
        least = cosines.masked_fill(~pairs.similar, torch.inf).amin(dim=1, keepdim=True)
        most = cosines.masked_fill(~pairs.dissimilar, -torch.inf).amax(dim=1, keepdim=True)
        near = pairs.similar & (cosines < most + self.epsilon)
        return near, pairs.dissimilar & (cosines > least - self.epsilon)


def _soft_sum(exponents: Tensor, chosen: Tensor) -> Tensor:
    """log(1 + sum of exp) of the chosen ones of each row, without overflow: float [B]."""
    kept = exponents.masked_fill(~chosen, -torch.inf)
    return torch.cat([kept, torch.zeros_like(kept[:, :1])], dim=1).logsumexp(dim=1)
