"""Triplet ranking hinge loss.

Lai et al., CVPR 2015 (arXiv 1504.03410), equation 2, on relaxed codes F in [0, 1]^b::

    loss(q, p, n) = max(0, margin + |F(q) - F(p)|^2 - |F(q) - F(n)|^2)

for a query q that is more similar to p than to n. On binary codes the squared distance is the
Hamming distance, so ``margin`` counts bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hashkit.training.triplets import label_overlap

__all__ = ["TripletLoss", "TripletRankingLoss"]


class TripletLoss:
    """A loss over triplets, with what the progress line shows beside it.

    Attributes
    ----------
    value
        float scalar; 0, but still attached to the codes, when there are no triplets.
    n_triplets
        int scalar, triplets compared.
    n_active
        int scalar, triplets whose hinge is above 0.
    """

    def __init__(self, value: Tensor, n_triplets: Tensor, n_active: Tensor) -> None:
        self.value = value
        self.n_triplets = n_triplets
        self.n_active = n_active


class TripletRankingLoss(nn.Module):
    """Mean hinge over the triplets of a batch.

    Parameters
    ----------
    margin
        By how many (relaxed) bits the dissimilar image must be farther than the similar one.
    average
        ``valid``: the mean over all triplets, as in the paper. ``active``: over those whose
        hinge is above 0, which keeps the step's size when most triplets are already satisfied.
    """

    def __init__(self, margin: float, average: str) -> None:
        super().__init__()
        self.margin = margin
        self.average = average

    def forward(self, codes: Tensor, labels: Tensor) -> TripletLoss:
        """Loss over every triplet that the labels of a batch give.

        Parameters
        ----------
        codes
            float [B, n_bits], relaxed codes.
        labels
            int64 [B], or uint8 [B, n_classes] multi-hot. (q, p, n) is a triplet when q shares
            more labels with p than with n.
        """
        overlap = label_overlap(labels)
        distances = _squared_distances(codes)
        hinge = (self.margin + distances[:, :, None] - distances[:, None, :]).clamp(min=0)
        others = ~torch.eye(len(codes), dtype=torch.bool, device=codes.device)
        valid = overlap[:, :, None] > overlap[:, None, :]
        valid &= others[:, :, None] & others[:, None, :]
        return self._mean(hinge * valid, valid.sum())

    def of_triplets(self, codes: Tensor, triplets: Tensor) -> TripletLoss:
        """Loss over given triplets.

        Parameters
        ----------
        codes
            float [B, n_bits], relaxed codes.
        triplets
            int64 [T, 3], rows of ``codes``: query, similar, dissimilar.
        """
        query, similar, dissimilar = codes[triplets.T]
        near = (query - similar).square().sum(dim=1)
        far = (query - dissimilar).square().sum(dim=1)
        hinge = (self.margin + near - far).clamp(min=0)
        return self._mean(hinge, torch.tensor(len(triplets)))

    def _mean(self, hinge: Tensor, n_triplets: Tensor) -> TripletLoss:
        n_active = (hinge > 0).sum()
        count = n_triplets if self.average == "valid" else n_active
        return TripletLoss(hinge.sum() / count.clamp(min=1), n_triplets, n_active)


def _squared_distances(codes: Tensor) -> Tensor:
    """Squared distances between all pairs: float [B, B] of float [B, n_bits]."""
    return (codes[:, None, :] - codes[None, :, :]).square().sum(dim=2)
