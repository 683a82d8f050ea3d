"""Layers that the DNNH networks share: features, head, and the calibration of random weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hashkit.training.networks.base import Network

__all__ = ["SLICE_SIZE", "DivideAndEncode", "NinNetwork", "calibrate_layers", "dnnh_head"]

SLICE_SIZE = 50
"""Features per bit, as in the paper."""


class DivideAndEncode(nn.Module):
    """One small fully connected layer per bit (Lai et al. 2015, section 3.2).

    The features are divided into ``n_bits`` slices of ``slice_size``. Each bit depends only on its
    own slice, which reduces redundancy between bits.

    Shapes: float [N, n_bits * slice_size] -> float [N, n_bits], before the sigmoid.
    """

    def __init__(self, n_bits: int, slice_size: int) -> None:
        super().__init__()
        self.n_bits = n_bits
        self.slice_size = slice_size
        self.weight = nn.Parameter(torch.empty(n_bits, slice_size))
        self.bias = nn.Parameter(torch.zeros(n_bits))

    def forward(self, features: Tensor) -> Tensor:
        """Logits of features."""
        slices = features.reshape(-1, self.n_bits, self.slice_size)
        return (slices * self.weight).sum(dim=2) + self.bias


def _mlp_convolution(
    in_channels: int, channels: int, out_channels: int, kernel: int
) -> nn.Sequential:
    """Convolution, ReLU, 1x1 convolution, ReLU: one "mlpconv" of Lin et al. 2014.

    Shapes: float [N, in_channels, H, W] -> float [N, out_channels, H, W]; ``kernel`` is odd, and
    padding keeps the size.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
        nn.ReLU(inplace=True),
    )


def _nin_blocks(*, dropout: float, third_kernel: int) -> nn.ModuleList:
    """Three mlpconv blocks with their pools, and the first convolution of the fourth.

    Shapes, applied in order: float [N, 3, H, W] -> float [N, 1024, ceil(H / 8), ceil(W / 8)].

    Parameters
    ----------
    dropout
        Fraction of features dropped after the first and third pool.
    third_kernel
        Kernel size of the third block's convolution: 3 in the paper, 1 in the Caffe implementation.
    """
    return nn.ModuleList(
        [
            nn.Sequential(
                _mlp_convolution(3, 96, 96, kernel=5),
                # Caffe rounds a pool's output size up; at 32x32 the grids are 32, 16, 8 and 4.
                nn.MaxPool2d(3, stride=2, ceil_mode=True),
                nn.Dropout(dropout),
            ),
            nn.Sequential(
                _mlp_convolution(96, 256, 256, kernel=5),
                nn.MaxPool2d(3, stride=2, ceil_mode=True),
            ),
            nn.Sequential(
                _mlp_convolution(256, 384, 384, kernel=third_kernel),
                nn.AvgPool2d(3, stride=2, ceil_mode=True),
                nn.Dropout(dropout),
            ),
            nn.Sequential(nn.Conv2d(384, 1024, 3, padding=1), nn.ReLU(inplace=True)),
        ]
    )


class NinNetwork(Network):
    """Network-in-Network features, for images of 8x8 pixels or more.

    Shapes: float [N, 3, H, W] -> float [N, 1024, ceil(H / 8), ceil(W / 8)].

    Parameters
    ----------
    dropout
        Fraction of features dropped after the first and third pool.
    third_kernel
        Kernel size of the third block's convolution.
    """

    n_features = 1024

    def __init__(self, *, dropout: float, third_kernel: int) -> None:
        super().__init__()
        self.blocks = _nin_blocks(dropout=dropout, third_kernel=third_kernel)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps of normalised images."""
        maps = images
        for block in self.blocks:
            maps = block(maps)
        return maps

    def stages(self) -> Sequence[nn.Module]:
        """The mlpconv blocks."""
        return list(self.blocks)

    def calibrate(self, images: Tensor, heads: Sequence[nn.Module]) -> None:
        """Scale each layer's outputs to mean 0 and variance 1, see `calibrate_layers`."""
        maps = calibrate_layers(self.blocks, images)
        for head in heads:
            calibrate_layers([head], maps)


def dnnh_head(n_bits: int, n_features: int) -> nn.Sequential:
    """The fourth mlpconv's 1x1 convolution, global average pooling, and divide-and-encode.

    Shapes: float [N, n_features, h, w] -> float [N, n_bits].
    """
    return nn.Sequential(
        nn.Conv2d(n_features, SLICE_SIZE * n_bits, 1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        DivideAndEncode(n_bits, SLICE_SIZE),
    )


@torch.no_grad()
def calibrate_layers(parts: Iterable[nn.Module], images: Tensor) -> Tensor:
    """Scale each layer so that its outputs have mean 0 and variance 1 over some images.

    Kraehenbuehl et al. 2016 (arXiv 1511.06856), section 3.1. In a deep network without
    normalisation, the common part of ReLU features outweighs the differences between images, so
    initial codes are nearly equal and a ranking loss has almost no gradient. Without calibration,
    mAP on the digits was still at chance level after four epochs.

    Parameters
    ----------
    parts
        Modules that are applied in order.
    images
        Input of the first module.

    Returns
    -------
    Tensor
        Output of the last module.
    """

    def standardise(
        layer: nn.Conv2d | DivideAndEncode, _: tuple[Tensor, ...], outputs: Tensor
    ) -> Tensor:
        others = [dim for dim in range(outputs.ndim) if dim != 1]
        mean = outputs.mean(others)
        deviation = outputs.std(others)
        # A constant feature cannot be scaled.
        scale = torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))
        layer.weight /= scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
        assert layer.bias is not None  # noqa: S101 - all layers here have one
        layer.bias.copy_((layer.bias - mean) / scale)
        shape = (1, -1, *[1] * (outputs.ndim - 2))
        return (outputs - mean.reshape(shape)) / scale.reshape(shape)

    outputs = images
    for part in parts:
        layers = [m for m in part.modules() if isinstance(m, nn.Conv2d | DivideAndEncode)]
        hooks = [layer.register_forward_hook(standardise) for layer in layers]
        outputs = part(outputs)
        for hook in hooks:
            hook.remove()
    return outputs
