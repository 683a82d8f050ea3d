"""Classes of unlabelled images, where the model is confident of them.

Sohn et al., *FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence*,
NeurIPS 2020 (arXiv 2001.07685): the class that the model finds in a weakly augmented image is the
label of the same image under strong augmentation, if its probability reaches a threshold. Wang et
al., *FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning*, ICLR 2023 (arXiv
2205.07246) adapts the threshold to the run. Here the probabilities are those of codes::

    q = softmax(16 cos), with the cosines between the logits and the code of each class

With the scale of the loss, usually 4, the probability of ten classes could not exceed .9.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["Consistency", "class_probabilities"]

_SCALE: Final = 16.0
"""Scale of cosines: a lead of .32 over each of nine other classes is a probability of .95."""

_MOMENTUM: Final = 0.99
"""Weight of earlier steps in the running means; the paper's .999 is for a million steps."""


def class_probabilities(cosines: Tensor) -> Tensor:
    """Probabilities of classes from cosines to their codes, float [n, n_classes]."""
    return (_SCALE * cosines).softmax(dim=1)


class Consistency(nn.Module):
    """Chooses the unlabelled images whose class is trusted.

    Its running means are buffers, so that a resumed run continues with them.

    Parameters
    ----------
    n_classes
        Number of classes.
    confidence
        Least probability of a class that is trusted (FixMatch); 0 for FreeMatch's threshold.
    weight
        Weight of the loss on unlabelled images.
    """

    level: Tensor
    shares: Tensor

    def __init__(self, n_classes: int, confidence: float, weight: float) -> None:
        super().__init__()
        self.confidence = confidence
        self.weight = weight
        self.register_buffer("level", torch.tensor(1 / n_classes))
        self.register_buffer("shares", torch.full((n_classes,), 1 / n_classes))

    @torch.no_grad()
    def trusted(self, probabilities: Tensor) -> Tensor:
        """Classes of images, or -1 where they are not trusted: int64 [n].

        Without a fixed threshold, the one of class c is FreeMatch's (equations 5 to 8)::

            t(c) = t share(c) / max share

        where t is the running mean of the largest probability and share(c) that of the
        probability of c, both over unlabelled images, these included.

        Parameters
        ----------
        probabilities
            float32 [n, n_classes], of weakly augmented images.
        """
        found, classes = probabilities.max(dim=1)
        if self.confidence:
            threshold = torch.as_tensor(self.confidence, device=found.device)
        else:
            self.level.lerp_(found.mean(), 1 - _MOMENTUM)
            self.shares.lerp_(probabilities.mean(dim=0), 1 - _MOMENTUM)
            threshold = self.level * (self.shares / self.shares.max())[classes]
        return torch.where(found >= threshold, classes, -1)
