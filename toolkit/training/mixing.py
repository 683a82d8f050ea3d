"""CutMix: images that contain a rectangle of another image.

Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features*,
ICCV 2019 (arXiv 1905.04899). A rectangle of an image is replaced by the same rectangle of another,
and the loss is the mean of the losses with both labels, weighted by area.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

__all__ = ["Cut", "cut_and_mix", "draw_cut"]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Rectangle that the images of a batch exchange.

    Attributes
    ----------
    top, bottom, left, right
        Rows top to bottom - 1 and columns left to right - 1, in pixels.
    kept
        Fraction of each image's pixels that stay its own.
    """

    top: int
    bottom: int
    left: int
    right: int
    kept: float


def draw_cut(
    size: tuple[int, int], share_of_batches: float, generator: torch.Generator
) -> Cut | None:
    """Draw the rectangle of a batch; None if the batch is not mixed.

    The rectangle has the proportions of the image. Its area is uniform in [0, 1] (the paper's
    Beta(1, 1)), and its centre is uniform over pixels; the part outside the image is cut off.

    Parameters
    ----------
    size
        (height, width), pixels.
    share_of_batches
        Probability that a batch is mixed, in [0, 1].
    generator
        CPU generator, whatever the device of the images, so that all devices get the same values.
    """
    is_mixed, area, centre_y, centre_x = torch.rand(4, generator=generator).tolist()
    if is_mixed >= share_of_batches:
        return None
    height, width = size
    top, bottom = _interval(centre_y, area**0.5, height)
    left, right = _interval(centre_x, area**0.5, width)
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return Cut(top, bottom, left, right, kept)


def cut_and_mix(images: Tensor, cut: Cut) -> Tensor:
    """Replace the rectangle of image i by that of image N - 1 - i.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3]; not modified.
    cut
        The rectangle, the same for all images.

    Returns
    -------
    Tensor
        uint8 [N, H, W, 3].
    """
    part = (slice(None), slice(cut.top, cut.bottom), slice(cut.left, cut.right))
    mixed = images.clone()
    mixed[part] = images[part].flip(0)
    return mixed


def _interval(centre: float, share: float, length: int) -> tuple[int, int]:
    """Start and end (exclusive) of a fraction of a side, around a centre in [0, 1)."""
    extent = round(length * share)
    start = int(centre * length) - extent // 2
    return max(0, start), min(length, start + extent)
