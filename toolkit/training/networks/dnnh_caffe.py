"""The DNNH network as its Caffe implementation for CIFAR-10 has it, layer by layer.

======================  =====================================  ================
layer                   shape at 32x32                         weight std
======================  =====================================  ================
conv1, cccp1            5x5, 96; 1x1, 96                       0.05, 0.05
pool1                   max 3/2, dropout 0.5: 96x16x16
conv2, cccp3            5x5, 256; 1x1, 256                     0.01, 0.05
pool2                   max 3/2: 256x8x8
conv3, cccp5            1x1, 384; 1x1, 384                     0.01, 0.05
pool3                   average 3/2, dropout 0.5: 384x4x4
conv4, cccp7            3x3, 1024; 1x1, 50 x bits              0.01, 0.05
pool4                   average over the grid: 50 x bits
divide-and-encode       50 -> 1 a bit, sigmoid                 0.1
======================  =====================================  ================

Every convolution is followed by a ReLU. Biases start at 0, learn at twice the rate and are not
decayed. Pixels are 0..255 less the training set's mean image; pools round up, as Caffe's do.
"""

from __future__ import annotations

from typing import ClassVar, Self

from torch import Tensor, nn

from hashkit.training.networks.base import Network, ParameterGroup
from hashkit.training.networks.dnnh import SLICE_SIZE, nin_features
from hashkit.training.networks.layers import DivideAndEncode

__all__ = ["DnnhCaffe"]

_STDS = (0.05, 0.05, 0.01, 0.05, 0.01, 0.05, 0.01, 0.05)
_ENCODER_STD = 0.1


class DnnhCaffe(Network):
    """The Caffe implementation's network, for images of any size from 8x8.

    Shapes: float [N, 3, H, W] -> float [N, n_bits].
    """

    subtracts_mean_image: ClassVar[bool] = True

    def __init__(self, n_bits: int, *, dropout: float) -> None:
        super().__init__()
        self.features = nin_features(n_bits, dropout=dropout, third_kernel=1)
        self.encode = DivideAndEncode(n_bits, SLICE_SIZE)
        convolutions = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        for convolution, std in zip(convolutions, _STDS, strict=True):
            nn.init.normal_(convolution.weight, std=std)
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.encode.weight, std=_ENCODER_STD)

    @classmethod
    def build(
        cls,
        n_bits: int,
        *,
        dropout: float,
        epsilon: float,  # noqa: ARG003
        standardise: bool,  # noqa: ARG003
    ) -> Self:
        """Network with fresh weights; it has neither a threshold nor standardised logits."""
        return cls(n_bits, dropout=dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images less the mean image."""
        logits: Tensor = self.encode(self.features(images).flatten(1))
        return logits

    def parameter_groups(self) -> list[ParameterGroup]:
        """Weights; biases at twice the rate and without decay."""
        weights, biases = super().parameter_groups()
        return [weights, ParameterGroup(biases.parameters, lr_scale=2.0, decay_scale=0.0)]
