"""Images with a part of another one in them, for losses that can count both.

CutMix: Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features*, ICCV 2019 (arXiv 1905.04899). A rectangle of an image gives way to the same rectangle of
another, and the loss is that of either's label, weighted by the area that is left of each.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

__all__ = ["Cut", "cut_and_mix", "draw_cut"]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Rectangle of a batch's images that is exchanged: first and last (exclusive) rows and columns.

    Attributes
    ----------
    top, bottom, left, right
        Pixels.
    kept
        Share of each image's pixels that stay its own.
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

    It has the proportions of the image. Its area is drawn evenly from none to all (Beta(1, 1) of
    the paper), its centre from all pixels; what would stick out is cut off.

    Parameters
    ----------
    size
        (height, width), pixels.
    share_of_batches
        Probability that a batch is mixed at all, in [0, 1].
    generator
        On the CPU whatever the device of the images, so that all devices draw alike.
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
    """Put a rectangle of the last image into the first, of the last but one into the second, ...

    Parameters
    ----------
    images
        uint8 [N, H, W, 3]; left as they are.
    cut
        The rectangle, the same for all.

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
    """First and last place (exclusive) of a share of a side, around a centre in [0, 1)."""
    extent = round(length * share)
    start = int(centre * length) - extent // 2
    return max(0, start), min(length, start + extent)
