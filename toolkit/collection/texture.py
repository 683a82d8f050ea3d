"""How much a thumbnail shows that another picture would not show by chance.

Skies, fog and gradients agree with each other wherever they are placed, because their blocks have
only a slope. What remains of a block without its slope is its texture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["texture"]

_BLOCK: Final = 8
"""Side of a block, pixels."""

_FULL_DEVIATION: Final = 8.0
"""Standard deviation, in grey values, at which the texture of a block counts in full."""

_THUMBNAILS_PER_STEP: Final = 1_024
"""Thumbnails per step, which bounds memory."""


def texture(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Number of blocks of 8 x 8 pixels with texture, weak texture counting in part: float64 [n].

    The texture of a block is the standard deviation of its residuals from the best-fitting plane.

    Parameters
    ----------
    thumbnails
        uint8 [n, s, s], grey; s is a multiple of 8.
    """
    parts = [
        _texture(thumbnails[start : start + _THUMBNAILS_PER_STEP].astype(np.float32))
        for start in range(0, len(thumbnails), _THUMBNAILS_PER_STEP)
    ]
    return np.concatenate([np.empty(0, np.float64), *parts])


def _texture(images: NDArray[np.float32]) -> NDArray[np.float64]:
    n_images, n_blocks = len(images), images.shape[1] // _BLOCK
    blocks = images.reshape(n_images, n_blocks, _BLOCK, n_blocks, _BLOCK)
    means = blocks.mean(axis=(2, 4))
    variance = (blocks * blocks).mean(axis=(2, 4)) - means * means
    offsets = (np.arange(_BLOCK) - (_BLOCK - 1) / 2).astype(np.float32)
    spread = np.square(offsets).mean()
    # On a grid, the slopes along both axes are found independently.
    across = blocks.mean(axis=2) @ offsets / (_BLOCK * spread)
    down = np.moveaxis(blocks.mean(axis=4), 2, -1) @ offsets / (_BLOCK * spread)
    residual = np.maximum(variance - (across**2 + down**2) * spread, 0.0)
    blocks_with: NDArray[np.float64] = (
        np.minimum(np.sqrt(residual) / _FULL_DEVIATION, 1.0).sum(axis=(1, 2)).astype(np.float64)
    )
    return blocks_with
