"""Bi-half codes: unsupervised hashing that maximises the entropy of each bit.

Li and van Gemert, *Deep Unsupervised Image Hashing by Maximizing Bit Entropy*, AAAI 2021
(arXiv 2012.12334). In each bit, the upper half of the batch's logits becomes +1 and the lower
half -1, which is the nearest code of maximal entropy. The loss is the paper's squared difference
between the cosine similarities of the codes B and of the network's features F, plus a
quantisation term that pulls the logits U towards their codes::

    loss = mean over pairs (cos(B_i, B_j) - cos(F_i, F_j))^2 + (gamma / 2) mean((U - B)^2)

The gradient passes straight through from B to U. The second term, with B fixed, has the gradient
gamma (U - B) / (N K) that the paper adds to it, for N images of K bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs, straight_through

__all__ = ["BiHalfLoss", "bihalf_codes"]


class BiHalfLoss(Loss):
    """Squared difference of cosine similarities; needs no labels (Li and van Gemert 2021).

    ``active`` is the fraction of bits that differ from the signs of the logits, which are the
    codes of the exported model; it falls as the medians of the logits approach 0. The loss
    compares all pairs of a batch; the authors' code compares each image with one other.

    Parameters
    ----------
    task
        Number of bits.
    quantisation
        Weight of the quantisation term; 3 is the paper's gamma times N K.
    """

    learns_from = "features"
    compares_images = False

    def __init__(self, task: Task, *, quantisation: float = 3.0) -> None:
        super().__init__(task)
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of a batch with its features, float [B, d]."""
        halves = bihalf_codes(logits.detach())
        codes = straight_through(halves, logits)
        features = F.normalize(targets.to(logits.dtype), dim=1)
        # The codes hold only +1 and -1, so the product divided by the number of bits is the cosine.
        of_codes = codes @ codes.T / self.task.n_bits
        errors = (of_codes - features @ features.T).square()
        n_images = len(logits)
        n_pairs = max(1, n_images * (n_images - 1))
        others = ~torch.eye(n_images, dtype=torch.bool, device=logits.device)
        pull = (logits - halves).square().mean()
        value = (errors * others).sum() / n_pairs + self.quantisation / 2 * pull
        return LossValue(value, (halves != signs(logits)).to(logits.dtype).mean())


def bihalf_codes(logits: Tensor) -> Tensor:
    """Codes with each bit +1 for half of the images and -1 for the other half.

    Ties between logits are broken by row. With an odd number of images, the median keeps its sign.

    Parameters
    ----------
    logits
        float [B, n_bits].

    Returns
    -------
    Tensor
        float [B, n_bits], +1 and -1.
    """
    ranks = logits.argsort(dim=0, stable=True).argsort(dim=0)
    from_middle = 2 * ranks + 1 - len(logits)
    return torch.where(from_middle == 0, signs(logits), from_middle.sign().to(logits.dtype))
