"""Images with a part of another one in them, for losses that can count both.

CutMix: Yun et al., *CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features*, ICCV 2019 (arXiv 1905.04899). A rectangle of an image gives way to the same rectangle of
another, and the loss is that of either's label, weighted by the area that is left of each.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cut_and_mix"]


def cut_and_mix(
    images: Tensor, share_of_batches: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """Put a rectangle of the last image into the first, of the last but one into the second, ...

    The rectangle is the same for the whole batch and has the proportions of the image. Its area is
    drawn evenly from none to all (Beta(1, 1) of the paper), its centre from all pixels; what would
    stick out is cut off.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3].
    share_of_batches
        Probability that a batch is mixed at all, in [0, 1].
    generator
        On the CPU whatever the device of the images, so that all devices draw alike.

    Returns
    -------
    tuple
        The images, and the share of each one's pixels that are its own; 1 if nothing was mixed.
    """
    is_mixed, area, centre_y, centre_x = torch.rand(4, generator=generator).tolist()
    if is_mixed >= share_of_batches:
        return images, 1.0
    height, width = images.shape[1:3]
    top, bottom = _interval(centre_y, area**0.5, height)
    left, right = _interval(centre_x, area**0.5, width)
    mixed = images.clone()
    mixed[:, top:bottom, left:right] = images.flip(0)[:, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def _interval(centre: float, share: float, length: int) -> tuple[int, int]:
    """First and last place (exclusive) of a share of a side, around a centre in [0, 1)."""
    extent = round(length * share)
    start = int(centre * length) - extent // 2
    return max(0, start), min(length, start + extent)
