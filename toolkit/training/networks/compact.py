"""A small network that learns fast from scratch, for images of 8 to 96 pixels.

Based on the networks of Jordan, *94% on CIFAR-10 in 3.29 seconds on a single GPU*, 2024 (arXiv
2404.00498): a fixed first convolution that whitens image patches, three blocks of convolution,
pool and convolution with batch normalisation, and global max pooling. The widths differ, and ReLU
replaces GELU; both cost less on a CPU. CELU and patches of 3x3 are those of Page, *How to Train
Your ResNet*, 2019, part 8.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from hashkit.training.networks.base import LinearHead, Network

__all__ = ["ACTIVATIONS", "Compact"]

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "relu": functools.partial(nn.functional.relu, inplace=True),
    "celu": functools.partial(nn.functional.celu, alpha=0.075),
    "gelu": nn.functional.gelu,
}
"""Activations by name, float [...] -> float [...]."""

_MIN_VARIANCE: Final = 5e-4
"""Added to the variance along each direction of patch space, so that noise is not amplified."""


class _Block(nn.Module):
    """Convolution, pool, convolution, and maybe a third one with a residual; halves the grid.

    Shapes: float [N, in_channels, H, W] -> float [N, out_channels, H // 2, W // 2]; a grid of
    one pixel stays.
    """

    def __init__(
        self, in_channels: int, out_channels: int, activation: Activation, *, is_deep: bool
    ) -> None:
        super().__init__()
        self._activation = activation
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.normalise1 = nn.BatchNorm2d(out_channels)
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.normalise2 = nn.BatchNorm2d(out_channels)
        self.convolution3 = (
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False) if is_deep else None
        )
        self.normalise3 = nn.BatchNorm2d(out_channels) if is_deep else None
        for convolution in (self.convolution1, self.convolution2, self.convolution3):
            # The first filters start as the identity, so that gradients reach every layer.
            if convolution is not None:
                nn.init.dirac_(convolution.weight[: convolution.in_channels])

    def forward(self, maps: Tensor) -> Tensor:
        """Maps of half the side."""
        maps = self.convolution1(maps)
        if min(maps.shape[2:]) > 1:
            maps = nn.functional.max_pool2d(maps, 2)
        maps = self._activation(self.normalise1(maps))
        inner = self._activation(self.normalise2(self.convolution2(maps)))
        if self.convolution3 is None or self.normalise3 is None:
            return inner
        return self._activation(self.normalise3(self.convolution3(inner)) + maps)


class Compact(Network):
    """Patch whitening, one block per width, and global max pooling.

    Shapes: float [N, 3, H, W] -> float [N, widths[-1]].

    Parameters
    ----------
    dropout
        Fraction of features dropped before the head.
    widths
        Channels of the blocks.
    is_deep
        Whether each block has a third convolution, whose output is added to its input.
    activation
        A name of `ACTIVATIONS`.
    patch
        Side of the patches that the first layer whitens, pixels.
    """

    def __init__(
        self,
        *,
        dropout: float,
        widths: tuple[int, ...],
        is_deep: bool = False,
        activation: str = "relu",
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.n_features = widths[-1]
        self._dropout = dropout
        self._patch = patch
        self._activation = ACTIVATIONS[activation]
        n_filters = 2 * 3 * patch**2
        self.whiten = nn.Conv2d(3, n_filters, patch)
        self.whiten.requires_grad_(requires_grad=False)
        self.blocks = nn.ModuleList(
            _Block(before, channels, self._activation, is_deep=is_deep)
            for before, channels in itertools.pairwise((n_filters, *widths))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images."""
        maps = self._activation(self.whiten(images))
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
        n_values = 3 * self._patch**2
        patches = nn.functional.unfold(images, self._patch).transpose(1, 2).reshape(-1, n_values)
        covariance = patches.T @ patches / len(patches)
        variances, directions = torch.linalg.eigh(covariance)
        filters = (directions / (variances + _MIN_VARIANCE).sqrt()).T
        filters = filters.reshape(n_values, 3, self._patch, self._patch)
        self.whiten.weight.copy_(torch.cat([filters, -filters]))
        assert self.whiten.bias is not None  # noqa: S101 - it has one
        self.whiten.bias.zero_()
