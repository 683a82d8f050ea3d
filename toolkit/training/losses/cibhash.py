"""Contrastive learning of binary codes, with an information bottleneck.

Qiu et al., *Unsupervised Hashing with Contrastive Information Bottleneck*, IJCAI 2021
(arXiv 2105.06138). A bit is drawn, and is 1 with the probability p that is the sigmoid of its
logit. With codes z in {-1, +1} of all 2 N views of N images, the loss of a view i, whose other
view is j, is the normalised temperature-scaled cross-entropy (section 3.1)::

    -log(exp(cos(z_i, z_j) / temperature) / sum over k != i of exp(cos(z_i, z_k) / temperature))

to which is added, with the weight beta, the mean of the two divergences between the bits'
distributions of an image's views (section 3.3)::

    (KL(p_i || p_j) + KL(p_j || p_i)) / 2 = sum over bits of (p_i - p_j) (u_i - u_j) / 2

where u are the logits: of two Bernoulli distributions the logarithms cancel to this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import straight_through
from hashkit.training.losses.classification import mean_over

__all__ = ["CibHashLoss"]

# Stands for minus infinity, whose gradient is not a number where a view is all alone.
_NEVER = -1e9


class CibHashLoss(Loss):
    """Mean contrastive cross-entropy over views; no labels are needed.

    ``active`` is the share of views whose most similar view is not, or not alone, the other one
    of their image. Bits are drawn from torch's global generator, and the gradient is handed
    straight through to their means, 2 p - 1; the authors' code takes the likelier bit instead of
    drawing.

    Parameters
    ----------
    task
        Bits.
    temperature
        Divisor of the cosines; 0.3 is the authors'.
    quantisation
        Weight of the divergence, beta in the paper: bits that differ between views of an image
        are noise that codes should not hold. 0.001 is the authors'.
    """

    learns_from = "views"
    compares_images = False

    def __init__(
        self, task: Task, *, temperature: float = 0.3, quantisation: float = 0.001
    ) -> None:
        super().__init__(task)
        self.temperature = temperature
        self.quantisation = quantisation

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of views, whose targets are the numbers of their images: int64 [B]."""
        probabilities = logits.sigmoid()
        drawn = (torch.rand_like(logits) < probabilities).to(logits.dtype)
        codes = straight_through(2 * drawn - 1, 2 * probabilities - 1)
        itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        other_view = (targets[:, None] == targets[None, :]) & ~itself
        cosines = (codes @ codes.T / self.task.n_bits).masked_fill(itself, _NEVER)
        log_shares = (cosines / self.temperature).log_softmax(dim=1)
        has_other = other_view.any(dim=1)
        contrast = mean_over(-(log_shares * other_view).sum(dim=1), has_other)
        divergence = mean_over(_divergences(logits, probabilities, other_view), has_other)
        value = contrast + self.quantisation * divergence
        return LossValue(value, mean_over(_is_lost(cosines.detach(), other_view), has_other))


def _divergences(logits: Tensor, probabilities: Tensor, other_view: Tensor) -> Tensor:
    """Symmetric divergence of each view from its other one, in nats: float [B]."""
    others = other_view.to(logits.dtype).argmax(dim=1)
    return ((probabilities - probabilities[others]) * (logits - logits[others])).sum(dim=1) / 2


def _is_lost(cosines: Tensor, other_view: Tensor) -> Tensor:
    """1 where another image's view is at least as similar as the own other one: float [B]."""
    own = cosines.masked_fill(~other_view, _NEVER).amax(dim=1)
    strange = cosines.masked_fill(other_view, _NEVER).amax(dim=1)
    return (own <= strange).to(cosines.dtype)
