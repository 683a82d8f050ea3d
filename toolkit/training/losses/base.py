"""The interface that all losses share: one call signature, and options with the paper's values."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

from torch import Tensor, nn

__all__ = ["LearnsFrom", "Loss", "LossValue", "Task"]

LearnsFrom = Literal["labels", "views", "features"]


@dataclasses.dataclass(frozen=True)
class Task:
    """The codes and labels that a loss is built for.

    Attributes
    ----------
    n_bits
        Bits of a code.
    n_classes
        Number of classes; 0 if the images have no labels.
    is_multi_label
        Whether an image may have several labels.
    """

    n_bits: int
    n_classes: int
    is_multi_label: bool = False


class LossValue:
    """The value of a loss on a batch, and the fraction of active terms.

    Attributes
    ----------
    value
        float scalar; 0, but still attached to the logits, if a batch has nothing to learn from.
    active
        float scalar in [0, 1], detached: the fraction of the terms that are not yet learned.
        Each loss documents its terms: triplets, pairs, images or bits. None if they are not known,
        as for a user's own function.
    confident
        float scalar in [0, 1], detached: the fraction of the unlabelled images whose class was
        trusted; None without unlabelled images.
    """

    def __init__(
        self, value: Tensor, active: Tensor | None, confident: Tensor | None = None
    ) -> None:
        self.value = value
        self.active = None if active is None else active.detach()
        self.confident = confident


class Loss(nn.Module, abc.ABC):
    """A loss over the logits of a batch.

    A subclass takes a `Task`, and its options as keyword arguments whose defaults are the
    paper's; `hashkit.training.losses.loss_options` reads the options from that signature.
    The parameters of a loss are learned with the network, and its buffers are saved with it.

    Attributes
    ----------
    learns_from
        The meaning of ``targets``. ``labels``: int64 [B], or uint8 [B, n_classes] multi-hot.
        ``views``: int64 [B], the index of the image that a row is an augmented view of; every
        image of the batch has two views. ``features``: float [B, d], the network's features,
        detached.
    takes_multi_label
        Whether targets may be multi-hot.
    takes_triplets
        Whether the loss implements `of_triplets`. With labels it compares all triplets of a
        batch.
    compares_images
        Whether the loss compares the images of a batch with each other, so that a batch should
        hold several images per class.
    has_centres
        Whether each class has a code of its own, and the loss implements `class_cosines`.
    """

    learns_from: ClassVar[LearnsFrom] = "labels"
    takes_multi_label: ClassVar[bool] = True
    takes_triplets: ClassVar[bool] = False
    compares_images: ClassVar[bool] = True
    has_centres: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def begin_step(self, progress: float) -> None:
        """Receive the fraction of the run done, in [0, 1), before each step; a no-op by default."""

    @abc.abstractmethod
    def forward(self, logits: Tensor, targets: Tensor) -> LossValue:
        """Loss of a batch.

        Parameters
        ----------
        logits
            float32 [B, n_bits], before any sigmoid, tanh or sign.
        targets
            See `learns_from`. A label of -1, or a multi-hot row of zeros, is an image without
            labels; the loss ignores it.
        """

    def class_cosines(self, logits: Tensor) -> Tensor:
        """Cosines to the codes of the classes, float [B, n_classes]; only if `has_centres`."""
        raise NotImplementedError

    def of_triplets(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over given triplets; implemented only if `takes_triplets`.

        Parameters
        ----------
        logits
            float32 [B, n_bits].
        triplets
            int64 [T, 3], rows of ``logits``: query, similar, dissimilar.
        """
        raise NotImplementedError
