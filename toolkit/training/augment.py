"""Augmentation on the device, a whole batch at a time.

Shift and flip are one gather: the pixel that lands at (y, x) is looked up at
(y + dy, x + dx), reflected at the borders and mirrored where the image is flipped.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from hashkit.errors import ConfigError

__all__ = ["AUGMENTATIONS", "Augmentation", "augment", "choose_augmentation"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes
    ----------
    shift
        Largest shift in each direction, as a share of the image's side.
    flip
        Whether half of the images are mirrored left to right.
    """

    shift: float
    flip: bool


AUGMENTATIONS = {
    "none": Augmentation(shift=0.0, flip=False),
    "shift": Augmentation(shift=0.125, flip=False),
    "shift-flip": Augmentation(shift=0.125, flip=True),
}

# A mirrored digit is another sign, or none.
_UNFLIPPABLE = frozenset({"digits", "mnist"})


def choose_augmentation(name: str, dataset: str) -> Augmentation:
    """Augmentation of `AUGMENTATIONS` by name; ``auto`` takes what suits the image set.

    Raises
    ------
    ConfigError
        If the name is unknown.
    """
    if name == "auto":
        name = "shift" if dataset in _UNFLIPPABLE else "shift-flip"
    if name not in AUGMENTATIONS:
        known = ", ".join(["auto", *AUGMENTATIONS])
        raise ConfigError(f"unknown augmentation {name!r}; known: {known}")
    return AUGMENTATIONS[name]


def augment(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Vary a batch.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3].
    generator
        On the CPU whatever the device of the images, so that all devices draw alike.
    """
    n_images, height, width, _ = images.shape
    rows = _shifted(n_images, height, augmentation.shift, generator)
    columns = _shifted(n_images, width, augmentation.shift, generator)
    if augmentation.flip:
        flipped = torch.rand(n_images, generator=generator) < 0.5
        columns = torch.where(flipped[:, None], columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(n_images, -1)
    flat += torch.arange(n_images)[:, None] * (height * width)
    pixels = images.reshape(-1, 3)
    return pixels[flat.reshape(-1).to(images.device)].reshape(images.shape)


def _shifted(n_images: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Where each row (or column) is looked up: int64 [n_images, side]."""
    reach = min(round(side * share), side - 1)
    offsets = torch.randint(-reach, reach + 1, (n_images, 1), generator=generator)
    positions = (torch.arange(side) + offsets).abs()
    return (side - 1) - ((side - 1) - positions).abs()
