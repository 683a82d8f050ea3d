"""The DNNH network of the paper: Network-in-Network features, divide-and-encode.

Lai, Pan, Liu, Yan: Simultaneous Feature Learning and Hash Coding with Deep Neural Networks,
CVPR 2015, arXiv 1504.03410. It differs from its Caffe implementation (`dnnh_caffe`) in the 3x3
third convolution and the piece-wise threshold after the sigmoid.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from hashkit.training.networks.base import Network
from hashkit.training.networks.layers import DivideAndEncode, piecewise_threshold

__all__ = ["SLICE_SIZE", "Dnnh", "nin_features"]

SLICE_SIZE = 50
"""Features a bit, as in the paper."""


def _mlp_convolution(
    in_channels: int, channels: int, out_channels: int, kernel: int
) -> nn.Sequential:
    """Convolution, ReLU, 1x1 convolution, ReLU: one "mlpconv" of Lin et al. 2014.

    Shapes: float [N, in_channels, H, W] -> float [N, out_channels, H, W]; ``kernel`` is odd and
    padded to keep the size.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
        nn.ReLU(inplace=True),
    )


def nin_features(n_bits: int, *, dropout: float, third_kernel: int) -> nn.Sequential:
    """The four mlpconv blocks and the pools between them, up to the average over the grid.

    Shapes: float [N, 3, H, W] -> float [N, SLICE_SIZE * n_bits, 1, 1].

    Parameters
    ----------
    third_kernel
        Side of the third block's convolution: 3 in the paper, 1 in its Caffe implementation.
    """
    return nn.Sequential(
        _mlp_convolution(3, 96, 96, kernel=5),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.Dropout(dropout),
        _mlp_convolution(96, 256, 256, kernel=5),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        _mlp_convolution(256, 384, 384, kernel=third_kernel),
        nn.AvgPool2d(3, stride=2, ceil_mode=True),
        nn.Dropout(dropout),
        _mlp_convolution(384, 1024, n_bits * SLICE_SIZE, kernel=3),
        nn.AdaptiveAvgPool2d(1),
    )


class Dnnh(Network):
    """The paper's network, for images of any size from 8x8.

    Shapes: float [N, 3, H, W] -> float [N, n_bits]. At 32x32 the grids are 32, 16, 8 and 4.

    Parameters
    ----------
    n_bits
        Bits of a code.
    dropout
        Share of features dropped after the first and third pool.
    epsilon
        Half-width of the threshold's undecided zone, see `piecewise_threshold`.
    standardise
        Whether each logit is brought to mean 0 and variance 1 over the batch (over the training
        set, once trained). The paper does not do it. Nothing in the ranking loss keeps logits
        small or apart from one image to the next: in longer runs they drift into the flat ends of
        the sigmoid together, and all images get the same few codes.
    """

    def __init__(self, n_bits: int, *, dropout: float, epsilon: float, standardise: bool) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.features = nin_features(n_bits, dropout=dropout, third_kernel=3)
        self.encode = DivideAndEncode(n_bits, SLICE_SIZE)
        self.standardise = nn.BatchNorm1d(n_bits, affine=False) if standardise else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # The paper does not say how it starts; He et al. 2015 keeps the scale through
                # eight ReLU layers without batch normalisation.
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.encode.weight, std=SLICE_SIZE**-0.5)

    @classmethod
    def build(cls, n_bits: int, *, dropout: float, epsilon: float, standardise: bool) -> Self:
        """Network with fresh weights."""
        return cls(n_bits, dropout=dropout, epsilon=epsilon, standardise=standardise)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        logits: Tensor = self.standardise(self.encode(self.features(images).flatten(1)))
        return logits

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Scale each layer so that its outputs have mean 0 and variance 1 over some images.

        Without it all codes start out nearly equal, since what ReLU features have in common
        outweighs what tells images apart, and the ranking loss has next to nothing to go by:
        after four epochs on the digits the mean average precision was still that of chance.
        (Kraehenbuehl et al. 2016, arXiv 1511.06856, section 3.1.)
        """

        def standardise(
            layer: nn.Conv2d | DivideAndEncode, _: tuple[Tensor, ...], outputs: Tensor
        ) -> Tensor:
            others = [dim for dim in range(outputs.ndim) if dim != 1]
            mean = outputs.mean(others)
            deviation = outputs.std(others)
            # A feature that is the same for all images has nothing to scale.
            scale = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
            layer.weight /= scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
            assert layer.bias is not None  # noqa: S101 - all layers here have one
            layer.bias.copy_((layer.bias - mean) / scale)
            shape = (1, -1, *[1] * (outputs.ndim - 2))
            return (outputs - mean.reshape(shape)) / scale.reshape(shape)

        layers = [m for m in self.modules() if isinstance(m, nn.Conv2d | DivideAndEncode)]
        hooks = [layer.register_forward_hook(standardise) for layer in layers]
        self(images)
        for hook in hooks:
            hook.remove()

    def relax(self, logits: Tensor) -> Tensor:
        """Sigmoid, then the piece-wise threshold."""
        return piecewise_threshold(logits.sigmoid(), self.epsilon)
