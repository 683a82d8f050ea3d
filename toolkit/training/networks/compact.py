"""A small network that learns fast from scratch, for images of 8 to 96 pixels.

Based on the networks of Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024 (arXiv
2404.00498): a fixed first convolution that whitens image patches, three blocks of convolution,
pool and convolution with batch normalisation, and global max pooling. The widths differ, and ReLU
replaces GELU; both cost less on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from hashkit.training.networks.base import LinearHead, Network

__all__ = ["Compact"]

_PATCH: Final = 2
"""Side of the patches that the first layer whitens, pixels."""

_PATCH_VALUES: Final = 3 * _PATCH**2

_MIN_VARIANCE: Final = 5e-4
"""Added to the variance along each direction of patch space, so that noise is not amplified."""


class _Block(nn.Module):
    """Convolution, pool, convolution; halves the grid.

    Shapes: float [N, in_channels, H, W] -> float [N, out_channels, H // 2, W // 2]; a grid of
    one pixel stays.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.normalise1 = nn.BatchNorm2d(out_channels)
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.normalise2 = nn.BatchNorm2d(out_channels)
        for convolution in (self.convolution1, self.convolution2):
            # The first filters start as the identity, so that gradients reach every layer.
            nn.init.dirac_(convolution.weight[: convolution.in_channels])

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of half the side."""
        maps = self.convolution1(maps)
        if min(maps.shape[2:]) > 1:
            maps = nn.functional.max_pool2d(maps, 2)
        maps = nn.functional.relu(self.normalise1(maps), inplace=True)
        return nn.functional.relu(self.normalise2(self.convolution2(maps)), inplace=True)


class Compact(Network):
    """Patch whitening, one block per width, and global max pooling.

    Shapes: float [N, 3, H, W] -> float [N, widths[-1]].

    Parameters
    ----------
    dropout
        Fraction of features dropped before the head.
    widths
        Channels of the blocks.
    """

    def __init__(self, *, dropout: float, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.n_features = widths[-1]
        self._dropout = dropout
        self.whiten = nn.Conv2d(3, 2 * _PATCH_VALUES, _PATCH)
        self.whiten.requires_grad_(requires_grad=False)
        channels = (2 * _PATCH_VALUES, *widths)
        self.blocks = nn.ModuleList(map(_Block, channels, widths))

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images."""
        maps: Tensor = nn.functional.relu(self.whiten(images), inplace=True)
        for block in self.blocks:
            maps = block(maps)
        return maps.amax((2, 3))

    def stages(self) -> Sequence[nn.Module]:
        """The whitening layer, then the blocks."""
        return [self.whiten, *self.blocks]

    def new_head(self, n_bits: int) -> LinearHead:
        """A linear map."""
        return LinearHead(self.n_features, n_bits, self._dropout)

    @torch.no_grad()
    def calibrate(self, images: Tensor, heads: Sequence[nn.Module]) -> None:  # noqa: ARG002
        """Set the first layer so that its outputs are uncorrelated with variance 1 over images.

        The filters are the principal directions of the image patches, each divided by its standard
        deviation, and their negatives, because a ReLU follows.
        """
        patches = nn.functional.unfold(images, _PATCH).transpose(1, 2).reshape(-1, _PATCH_VALUES)
        covariance = patches.T @ patches / len(patches)
        variances, directions = torch.linalg.eigh(covariance)
        filters = (directions / (variances + _MIN_VARIANCE).sqrt()).T
        filters = filters.reshape(_PATCH_VALUES, 3, _PATCH, _PATCH)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        assert self.whiten.bias is not None  # noqa: S101 - it has one
        self.whiten.bias.zero_()
