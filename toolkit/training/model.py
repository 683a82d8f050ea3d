"""The model that is trained, saved and exported: normalisation and network in one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.training.networks import Network

__all__ = ["HashModel", "pixel_statistics"]


class HashModel(nn.Module):
    """Images in, logits out.

    Shapes: uint8 [N, height, width, 3] (RGB) -> float32 [N, n_bits].

    Parameters
    ----------
    network
        float [N, 3, height, width] -> float [N, n_bits].
    mean
        float32 [3, 1, 1], or [3, height, width] for a mean image; in pixel values 0..255.
    std
        float32 [3, 1, 1], likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        *,
        n_bits: int,
        size: tuple[int, int],
        mean: Tensor,
        std: Tensor,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_bits = n_bits
        self.height, self.width = size
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        logits: Tensor = self.network(self._normalised(images))
        return logits.to(torch.float32)

    def calibrate(self, images: Tensor) -> None:
        """Let the network adjust its fresh weights to images, uint8 [N, height, width, 3]."""
        self.network.calibrate(self._normalised(images))

    def _normalised(self, images: Tensor) -> Tensor:
        # A permuted NHWC tensor already lies in memory as channels-last.
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        return (pixels - self.mean) / self.std


def pixel_statistics(
    pixels: NDArray[np.uint8], *, mean_image: bool, block: int = 1024
) -> tuple[Tensor, Tensor]:
    """Mean and deviation that normalise a training set.

    Parameters
    ----------
    pixels
        uint8 [n, H, W, 3].
    mean_image
        False: mean and standard deviation of each channel, float32 [3, 1, 1] both. True: the
        mean image, float32 [3, H, W], and ones, float32 [3, 1, 1].
    block
        Images summed at a time, which bounds the memory.
    """
    n, height, width, _ = pixels.shape
    total = np.zeros((height, width, 3))
    squares = np.zeros(3)
    for start in range(0, n, block):
        values = pixels[start : start + block].astype(np.float64)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=(0, 1, 2))
    mean = total / n
    if mean_image:
        return torch.tensor(mean.transpose(2, 0, 1).astype(np.float32)), torch.ones(3, 1, 1)
    channel_mean = mean.mean(axis=(0, 1))
    variance = squares / (n * height * width) - np.square(channel_mean)
    # A constant channel has no deviation to divide by.
    deviation = np.sqrt(np.maximum(variance, 1.0))
    return _per_channel(channel_mean), _per_channel(deviation)


def _per_channel(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values.astype(np.float32)).reshape(3, 1, 1)
