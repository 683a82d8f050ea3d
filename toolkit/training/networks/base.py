"""What every network offers to the trainer."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor, nn

__all__ = ["Network", "ParameterGroup"]


@dataclasses.dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay.

    Attributes
    ----------
    parameters
        The parameters.
    lr_scale, decay_scale
        Factors on the solver's learning rate and weight decay.
    """

    parameters: Sequence[nn.Parameter]
    lr_scale: float = 1.0
    decay_scale: float = 1.0


class Network(nn.Module, abc.ABC):
    """A map from normalised images to one logit a bit.

    Subclasses implement `build`, and ``forward``: float [N, 3, H, W] -> float [N, n_bits].

    Attributes
    ----------
    subtracts_mean_image
        Whether pixels come as 0..255 less the training set's mean image, as in Caffe, instead
        of standardised channel by channel.
    """

    subtracts_mean_image: ClassVar[bool] = False

    @classmethod
    @abc.abstractmethod
    def build(cls, n_bits: int, *, dropout: float, epsilon: float, standardise: bool) -> Self:
        """Network with fresh weights, drawn from torch's global generator.

        Parameters
        ----------
        n_bits
            Bits of a code.
        dropout
            Share of features dropped.
        epsilon
            Half-width of the threshold's undecided zone; ignored by networks without one.
        standardise
            Whether logits are standardised over the batch; ignored likewise.
        """

    def calibrate(self, images: Tensor) -> None:
        """Adjust fresh weights to normalised training images, float [N, 3, H, W]; by default not.

        Called once, before the first step, in evaluation mode.
        """

    def relax(self, logits: Tensor) -> Tensor:
        """Codes in [0, 1] that the ranking losses compare: float [N, n_bits], as the logits."""
        return logits.sigmoid()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights, and biases and other vectors, which are not decayed."""
        weights = [parameter for parameter in self.parameters() if parameter.ndim > 1]
        vectors = [parameter for parameter in self.parameters() if parameter.ndim <= 1]
        return [ParameterGroup(weights), ParameterGroup(vectors, decay_scale=0.0)]
