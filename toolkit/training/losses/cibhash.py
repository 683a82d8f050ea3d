"""Contrastive learning of binary codes, with an information bottleneck.

Qiu et al., *Unsupervised Hashing with Contrastive Information Bottleneck*, IJCAI 2021
(arXiv 2105.06138). A bit is 1 with probability p, the sigmoid of its logit. With the sampled codes
z in {-1, +1} of the 2 N views of N images, the loss of view i, where j is the other view of the
same image, is the normalised temperature-scaled cross-entropy (section 3.1)::

    -log(exp(cos(z_i, z_j) / temperature) / sum over k != i of exp(cos(z_i, z_k) / temperature))

plus, with weight beta, the mean of the two Kullback-Leibler divergences between the bit
distributions of an image's views (section 3.3)::

    (KL(p_i || p_j) + KL(p_j || p_i)) / 2 = sum over bits of (p_i - p_j) (u_i - u_j) / 2

where u are the logits. The equality holds because the bits are Bernoulli variables.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import straight_through
from hashkit.training.losses.classification import mean_over

__all__ = ["CibHashLoss"]

# Finite, because with minus infinity the gradient of a batch with a single view would be NaN.
_MINUS_INFINITY = -1e9


class CibHashLoss(Loss):
    """Mean contrastive cross-entropy over views; needs no labels (Qiu et al. 2021).

    ``active`` is the fraction of views for which a view of another image is at least as similar
    as the other view of the same image. Bits are sampled from torch's global generator, and the
    gradient passes straight through to their means, 2 p - 1; the authors' code takes the more
    likely bit instead of sampling.

    Parameters
    ----------
    task
        Number of bits.
    temperature
        Divisor of the cosines; 0.3 is the authors' value.
    quantisation
        Weight of the divergence, beta in the paper, which suppresses bits that differ between
        views of an image. 0.001 is the authors' value.
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
        """Loss of views; ``targets``, int64 [B], are the indices of their images."""
        probabilities = logits.sigmoid()
        drawn = (torch.rand_like(logits) < probabilities).to(logits.dtype)
        codes = straight_through(2 * drawn - 1, 2 * probabilities - 1)
        itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        other_view = (targets[:, None] == targets[None, :]) & ~itself
        cosines = (codes @ codes.T / self.task.n_bits).masked_fill(itself, _MINUS_INFINITY)
        log_shares = (cosines / self.temperature).log_softmax(dim=1)
        has_other = other_view.any(dim=1)
        contrast = mean_over(-(log_shares * other_view).sum(dim=1), has_other)
        divergence = mean_over(_divergences(logits, probabilities, other_view), has_other)
        value = contrast + self.quantisation * divergence
        return LossValue(value, mean_over(_is_misranked(cosines.detach(), other_view), has_other))


def _divergences(logits: Tensor, probabilities: Tensor, other_view: Tensor) -> Tensor:
    """Symmetric divergence between the two views of an image, in nats: float [B]."""
    others = other_view.to(logits.dtype).argmax(dim=1)
    return ((probabilities - probabilities[others]) * (logits - logits[others])).sum(dim=1) / 2


def _is_misranked(cosines: Tensor, other_view: Tensor) -> Tensor:
    """1 if a view of another image is at least as similar as the image's own: float [B]."""
    own = cosines.masked_fill(~other_view, _MINUS_INFINITY).amax(dim=1)
    foreign = cosines.masked_fill(other_view, _MINUS_INFINITY).amax(dim=1)
    return (own <= foreign).to(cosines.dtype)
