"""Codes whose bits are half +1 and half -1 over a batch, and as alike as the features are.

Li and van Gemert, *Deep Unsupervised Image Hashing by Maximizing Bit Entropy*, AAAI 2021
(arXiv 2012.12334). For each bit, the upper half of the batch's logits becomes +1 and the lower
half -1, which is the nearest code with the most entropy. The codes B are compared with the
features F of the trunk, and the logits U drawn towards their codes::

    loss = mean over pairs (cos(B_i, B_j) - cos(F_i, F_j))^2 + (gamma / 2) mean((U - B)^2)

The gradient is handed straight through from B to U; the second term, with B held fixed, has the
gradient gamma (U - B) / (N K) that the paper adds there, for N images of K bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs, straight_through

__all__ = ["BiHalfLoss", "bihalf_codes"]


class BiHalfLoss(Loss):
    """Squared difference of cosine similarities; no labels are needed.

    ``active`` is the share of bits that differ from the logits' signs, which are the codes that
    the model will give: it falls as the logits' medians come to 0. All pairs of a batch are
    compared, where the authors' code takes one partner an image.

    Parameters
    ----------
    task
        Bits.
    quantisation
        Weight of the pull of logits to their codes: 3 is the paper's gamma times N K.
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
        # Of +1 and -1 alone, so that the product over the number of bits is the cosine.
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

    Equal logits are told apart by their row. The middle one of an odd number keeps its own sign.

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
