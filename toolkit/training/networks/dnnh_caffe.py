"""The DNNH network as in its Caffe implementation for CIFAR-10, layer by layer.

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
divide-and-encode       50 -> 1 per bit, sigmoid               0.1
======================  =====================================  ================

A ReLU follows every convolution. Biases start at 0, have twice the learning rate and no weight
decay. Pixels are 0..255 minus the mean image of the training set; pools round up, as in Caffe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from torch import nn

from hashkit.training.networks.layers import DivideAndEncode, NinNetwork, dnnh_head

__all__ = ["DnnhCaffe"]

_STDS = (0.05, 0.05, 0.01, 0.05, 0.01, 0.05, 0.01)
_HEAD_STD = 0.05
_ENCODER_STD = 0.1


class DnnhCaffe(NinNetwork):
    """The Caffe implementation's network.

    Parameters
    ----------
    dropout
        Fraction of features dropped after the first and third pool.
    """

    bias_lr_scale: ClassVar[float] = 2.0

    def __init__(self, *, dropout: float) -> None:
        super().__init__(dropout=dropout, third_kernel=1)
        for convolution, std in zip(_convolutions(self), _STDS, strict=True):
            _initialise(convolution, std)

    def new_head(self, n_bits: int) -> nn.Module:
        """Divide-and-encode."""
        head = dnnh_head(n_bits, self.n_features)
        for convolution in _convolutions(head):
            _initialise(convolution, _HEAD_STD)
        encoder = head[-1]
        assert isinstance(encoder, DivideAndEncode)  # noqa: S101 - by dnnh_head
        nn.init.normal_(encoder.weight, std=_ENCODER_STD)
        return head


def _convolutions(part: nn.Module) -> Iterator[nn.Conv2d]:
    return (module for module in part.modules() if isinstance(module, nn.Conv2d))


def _initialise(convolution: nn.Conv2d, std: float) -> None:
    nn.init.normal_(convolution.weight, std=std)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
