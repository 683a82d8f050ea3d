"""Supervised contrastive learning: each image against all others, towards those that are similar.

Khosla et al., *Supervised Contrastive Learning*, NeurIPS 2020 (arXiv 2004.11362), equation 2, the
loss that the paper calls L_out. With h = tanh(u) for logits u, the cosine S_ij of h_i and h_j, the
similar images P_i of image i, all other images A_i with labels, and codes b = sign(u)::

    loss = -mean over images i, mean over p in P_i(
               log(exp(S_ip / temperature) / sum over a in A_i of exp(S_ia / temperature)))
         + quantisation * mean over images and bits((u - b)^2)

The first mean is over images with at least one similar image. The paper compares two views of
each image of a batch; here the images of its class are its positives. The quantisation term is
not in the paper, whose embeddings are not codes; it is that of DPSH.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import quantisation_errors, relaxed_cosines
from hashkit.training.losses.classification import check_classes, mean_over
from hashkit.training.losses.pairs import Pairs

__all__ = ["SupConLoss"]

_MINUS_INFINITY: Final = -1e9
"""Finite, because with minus infinity the gradient of an image without others would be NaN."""


class SupConLoss(Loss):
    """Supervised contrastive cross-entropy of a batch (Khosla et al. 2020, equation 2).

    ``active`` is the fraction of similar pairs (i, j) with a dissimilar image that is as near to i
    as j is.

    Parameters
    ----------
    task
        Number of bits and classes.
    temperature
        Divisor of the cosines; 0.1 is the paper's value.
    quantisation
        Weight of the quantisation term.
    """

    def __init__(self, task: Task, *, temperature: float = 0.1, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("supcon", task)
        self.temperature = temperature
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of all pairs of labelled images."""
        pairs = Pairs.of_batch(targets)
        cosines = relaxed_cosines(logits)
        scores = (cosines / self.temperature).masked_fill(~pairs.compared, _MINUS_INFINITY)
        costs = -(scores.log_softmax(dim=1) * pairs.similar).sum(dim=1)
        n_similar = pairs.similar.sum(dim=1)
        contrast = mean_over(costs / n_similar.clamp(min=1), n_similar > 0)
        errors = mean_over(quantisation_errors(logits), pairs.images)
        value = contrast + self.quantisation * errors
        return LossValue(value, pairs.fraction_misranked(cosines))
