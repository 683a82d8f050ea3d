"""What every loss offers to the trainer: one call shape, and options with the paper's values."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

from torch import Tensor, nn

__all__ = ["LearnsFrom", "Loss", "LossValue", "Task"]

LearnsFrom = Literal["labels", "views", "features"]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a loss is made for.

    Attributes
    ----------
    n_bits
        Bits of a code.
    n_classes
        Number of labels; 0 where images have none.
    is_multi_label
        Whether an image may have several labels.
    """

    n_bits: int
    n_classes: int
    is_multi_label: bool = False


class LossValue:
    """A loss, with what the progress line shows beside it.

    Attributes
    ----------
    value
        float scalar; 0, but still attached to the logits, when a batch has nothing to learn from.
    active
        float scalar in [0, 1], detached: the share of what was compared (triplets, pairs or
        images, as the loss says) that still needs learning.
    """

    def __init__(self, value: Tensor, active: Tensor) -> None:
        self.value = value
        self.active = active.detach()


class Loss(nn.Module, abc.ABC):
    """A loss over the logits of a batch.

    A subclass takes a `Task`, and its options as keyword arguments whose defaults are the
    paper's; `hashkit.training.losses.build_loss` reads the options from that signature.
    Parameters of a loss are learned along with the network, and its buffers are saved with it.

    Attributes
    ----------
    learns_from
        What ``targets`` are. ``labels``: int64 [B], or uint8 [B, n_classes] multi-hot.
        ``views``: int64 [B], the number of the image that a row is a varied copy of; every image
        of the batch is there twice. ``features``: float [B, d], the trunk's features, detached.
    takes_multi_label
        Whether targets may be multi-hot.
    takes_triplets
        Whether `of_triplets` is there. Given labels, such a loss compares all triplets of a batch.
    compares_images
        Whether images of a batch are compared with each other, so that a batch should hold
        several of a class.
    """

    learns_from: ClassVar[LearnsFrom] = "labels"
    takes_multi_label: ClassVar[bool] = True
    takes_triplets: ClassVar[bool] = False
    compares_images: ClassVar[bool] = True

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def begin_step(self, progress: float) -> None:
        """Told before each step how much of the run is done, in [0, 1); by default ignored."""

    @abc.abstractmethod
    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of a batch.

        Parameters
        ----------
        logits
            float32 [B, n_bits], before any sigmoid, tanh or sign.
        targets
            See `learns_from`. A label of -1, or a row without any, is an image without labels:
            it is compared with nothing.
        """

    def of_triplets(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over given triplets; not there unless the loss `takes_triplets`.

        Parameters
        ----------
        logits
            float32 [B, n_bits].
        triplets
            int64 [T, 3], rows of ``logits``: query, similar, dissimilar.
        """
        raise NotImplementedError
