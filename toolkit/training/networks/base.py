"""The interface that all networks share: features, stages, and heads that compute logits."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["InputRule", "LinearHead", "Network"]


@dataclasses.dataclass(frozen=True)
class InputRule:
    """Size, resizing and normalisation of a network's input images.

    Attributes
    ----------
    size
        (height, width) in pixels that the network was designed for; None for any size.
    resize
        A rule of `hashkit.manifest.RESIZE_RULES`.
    mean, std
        Mean and standard deviation per channel that normalise images, in pixel values 0..255;
        None for those of the training images.
    subtracts_mean_image
        Whether the input is pixels 0..255 minus the mean image of the training set, as in Caffe.
    """

    size: tuple[int, int] | None = None
    resize: str = "crop-bilinear"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    subtracts_mean_image: bool = False


class Network(nn.Module, abc.ABC):
    """A map from normalised images to features, with heads that compute logits from them.

    Subclasses implement ``forward``: float [N, 3, H, W] -> feature maps, float
    [N, n_features, h, w], or features, float [N, n_features].

    Attributes
    ----------
    n_features
        Channels of the features.
    bias_lr_scale
        Factor on the learning rate of biases and other vectors.
    """

    n_features: int
    bias_lr_scale: ClassVar[float] = 1.0

    @abc.abstractmethod
    def stages(self) -> Sequence[nn.Module]:
        """Parts of the network, first to last, that together hold all of its parameters.

        Freezing and learning rates apply per stage.
        """

    def new_head(self, n_bits: int) -> nn.Module:
        """New head with random weights: output of ``forward`` -> logits, float [N, n_bits]."""
        return LinearHead(self.n_features, n_bits)

    def calibrate(self, images: Tensor, heads: Sequence[nn.Module]) -> None:
        """Adjust random weights to normalised training images, float [N, 3, H, W].

        Called once, before the first step, in evaluation mode, if the network starts from random
        weights. Does nothing by default.
        """


class LinearHead(nn.Module):
    """Global average pooling, dropout, and one linear map to all bits.

    Shapes: float [N, n_features, h, w] or [N, n_features] -> float [N, n_bits].
    """

    def __init__(self, n_features: int, n_bits: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_features, n_bits)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of features."""
        logits: Tensor = self.linear(self.dropout(pooled(features)))
        return logits


def pooled(features: Tensor) -> Tensor:
    """Global average pooling of feature maps: float [N, C, h, w] or [N, C] -> float [N, C]."""
    return features.mean((2, 3)) if features.ndim == 4 else features
