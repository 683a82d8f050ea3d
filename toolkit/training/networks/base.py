"""What every network offers to the trainer: feature maps, stages, and heads that make logits."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["InputRule", "LinearHead", "Network"]


@dataclasses.dataclass(frozen=True)
class InputRule:
    """How a network wants its images.

    Attributes
    ----------
    size
        (height, width) in pixels that it was made for; None for a network of any size.
    resize
        A rule of `hashkit.manifest.RESIZE_RULES`.
    mean, std
        Of each channel, in pixel values 0..255, by which images are normalised; None for those
        of the training images.
    subtracts_mean_image
        Whether pixels come as 0..255 less the training set's mean image, as in Caffe.
    """

    size: tuple[int, int] | None = None
    resize: str = "crop-bilinear"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    subtracts_mean_image: bool = False


class Network(nn.Module, abc.ABC):
    """A map from normalised images to features, with heads that turn these into logits.

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
        """Parts of the network, first to last, which hold all of its parameters.

        What is frozen is frozen stage by stage, and layer-wise learning rates are one a stage.
        """

    def new_head(self, n_bits: int) -> nn.Module:
        """Fresh head: features as ``forward`` gives them -> logits, float [N, n_bits]."""
        return LinearHead(self.n_features, n_bits)

    def calibrate(self, images: Tensor, heads: Sequence[nn.Module]) -> None:
        """Adjust fresh weights to normalised training images, float [N, 3, H, W]; by default not.

        Called once, before the first step, in evaluation mode, for a network that starts from
        random weights.
        """


class LinearHead(nn.Module):
    """Mean over the grid, dropout, and one linear map to all bits.

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
    """Mean over the grid of feature maps: float [N, C, h, w] or [N, C] -> float [N, C]."""
    return features.mean((2, 3)) if features.ndim == 4 else features
