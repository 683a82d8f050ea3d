"""Greedy hash: classification by binary codes.

Su et al., *Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN*, NeurIPS 2018.
The codes b are the signs of the logits h; the gradient passes straight through the sign. A linear
classifier W without bias is learned on the codes (equations 5 and 7)::

    loss = cross-entropy(W b, class) + quantisation * mean(||h| - 1|^3)

with the mean over images and bits.
"""

from __future__ import annotations

from torch import Tensor, nn

from hashkit.training.losses.base import Loss, LossValue, Task
from hashkit.training.losses.binary import signs, straight_through
from hashkit.training.losses.classification import (
    check_classes,
    cross_entropy,
    fraction_misclassified,
    is_labelled,
    mean_over,
)

__all__ = ["GreedyHashLoss"]


class GreedyHashLoss(Loss):
    """Cross-entropy of a linear classifier on the codes (Su et al. 2018, equations 5 and 7).

    The classifier is learned with the network and is not part of the exported model. It takes
    one label per image, as in the paper. ``active`` is the fraction of misclassified images.

    Parameters
    ----------
    task
        Number of bits and classes.
    quantisation
        Weight of the penalty on the distance of logits from -1 and +1, alpha in the paper; 0.1 is
        the paper's value for CIFAR-10.
    """

    takes_multi_label = False
    compares_images = False

    def __init__(self, task: Task, *, quantisation: float = 0.1) -> None:
        super().__init__(task)
        check_classes("greedyhash", task)
        self.quantisation = quantisation
        self.classifier = nn.Linear(task.n_bits, task.n_classes, bias=False)

    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of labelled images."""
        scores = self.classifier(straight_through(signs(logits), logits))
        penalty = (logits.abs() - 1).abs().pow(3).mean(dim=1)
        value = cross_entropy(scores, targets)
        value = value + self.quantisation * mean_over(penalty, is_labelled(targets))
        return LossValue(value, fraction_misclassified(scores, targets))
