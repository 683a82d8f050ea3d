"""Classification by binary codes.

Su et al., *Greedy Hash: Towards Fast Optimization for Accurate Hash Coding in CNN*, NeurIPS 2018.
The codes b are the signs of the logits h, with the gradient handed straight through the sign, and
a linear classifier without bias is learned on them (equations 5 and 7)::

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
    is_labelled,
    mean_over,
    share_misplaced,
)

__all__ = ["GreedyHashLoss"]


class GreedyHashLoss(Loss):
    """Cross-entropy of a classifier on the codes; ``active`` is the share that it gets wrong.

    The classifier is learned with the network, and is no part of the model. An image has one label,
    as in the paper.

    Parameters
    ----------
    task
        Bits and labels.
    quantisation
        Weight of the penalty on logits off -1 and +1, alpha in the paper; its value for CIFAR-10.
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
        return LossValue(value, share_misplaced(scores, targets))
