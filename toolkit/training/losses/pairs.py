"""Pairs of images in a batch: similar if they share a label, otherwise dissimilar."""

from __future__ import annotations

import dataclasses
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.classification import mean_over
from hashkit.training.losses.similarity import label_overlap

__all__ = ["Pairs"]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Masks of similar and dissimilar pairs.

    Both masks are symmetric. Images without labels are in no pair, and no image is paired with
    itself.

    Attributes
    ----------
    similar
        bool [B, B], pairs that share at least one label.
    dissimilar
        bool [B, B], pairs that share none.
    """

    similar: Tensor
    dissimilar: Tensor

    @classmethod
    def of_batch(cls, targets: Tensor) -> Self:
        """All pairs of a batch: targets are int64 [B] (-1: no label), or uint8 [B, n_classes]."""
        shares = label_overlap(targets) > 0
        # An image shares labels with itself, if it has any.
        labelled = shares.diagonal()
        compared = (labelled[:, None] & labelled[None, :]).fill_diagonal_(False)
        return cls(compared & shares, compared & ~shares)

    @property
    def compared(self) -> Tensor:
        """All pairs, of either kind: bool [B, B]."""
        return self.similar | self.dissimilar

    @property
    def images(self) -> Tensor:
        """Images that are in any pair: bool [B]."""
        return self.compared.any(dim=1)

    def mean(self, costs: Tensor) -> Tensor:
        """Mean of ``costs``, float [B, B], over all pairs; 0 if there are none."""
        return mean_over(costs, self.compared)

    def balanced_mean(self, costs: Tensor) -> Tensor:
        """Weighted mean in which similar and dissimilar pairs have the same total weight.

        With |S| pairs, |S1| of them similar and |S0| dissimilar, the weights are |S| / |S1| and
        |S| / |S0|, so the result is the mean over similar pairs plus the mean over dissimilar
        pairs. A kind without pairs adds 0.
        """
        return mean_over(costs, self.similar) + mean_over(costs, self.dissimilar)

    def logistic_costs(self, scores: Tensor) -> Tensor:
        """Negative log-likelihood of each pair, float [B, B].

        A pair with score t, float [B, B], is similar with probability sigmoid(t).
        """
        # -log sigmoid(t) = softplus(-t), which neither overflows nor cancels.
        return F.softplus(torch.where(self.similar, -scores, scores))

    def fraction_misclassified(self, products: Tensor) -> Tensor:
        """Fraction of pairs whose inner product, float [B, B], is 0 or has the wrong sign."""
        products = products.detach()
        wrong = torch.where(self.similar, products <= 0, products >= 0)
        return self.mean(wrong.to(products.dtype))

    def fraction_misranked(self, products: Tensor) -> Tensor:
        """Fraction of similar pairs (i, j) with a dissimilar image that is as near to i as j is.

        ``products``, float [B, B], are inner products or cosines.
        """
        products = products.detach()
        nearest = products.masked_fill(~self.dissimilar, -torch.inf).amax(dim=1, keepdim=True)
        return mean_over((products <= nearest).to(products.dtype), self.similar)
