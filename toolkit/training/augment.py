"""Augmentation on the device, a whole batch at a time.

Shift and flip are one gather: the pixel that lands at (y, x) is looked up at
(y + dy, x + dx), reflected at the borders and mirrored where the image is flipped. Crops, which
need pixels between pixels, and flips with them, are one resampling.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.errors import ConfigError

__all__ = ["AUGMENTATIONS", "Augmentation", "augment", "choose_augmentation"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are varied; what is left at its default changes nothing.

    Attributes
    ----------
    shift
        Largest shift in each direction, as a share of the image's side; not with ``crop``.
    flip
        Whether half of the images are mirrored left to right.
    cutout
        Side of a square that is blotted out, as a share of the image's shorter side. Its centre
        may be anywhere, so it may stick out (DeVries and Taylor 2017, arXiv 1708.04552).
    crop
        Smallest share of the image's area that is cut out and enlarged to the whole. The share is
        drawn up to 1, and the ratio of width to height between 3/4 and 4/3 times the image's; a
        side that would exceed the image's is cut to it.
    brightness, contrast, saturation
        Largest change: colours are scaled, taken from the image's mean grey, and taken from
        each pixel's grey, by factors within that much of 1.
    grey
        Share of the images that lose their colours.
    """

    shift: float = 0.0
    flip: bool = False
    cutout: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0

    def __post_init__(self) -> None:
        if self.crop < 1 and self.shift:
            raise ConfigError("an augmentation has either a crop or a shift: a crop is shifted")

    @property
    def changes_colours(self) -> bool:
        """Whether any colour is varied."""
        return any((self.brightness, self.contrast, self.saturation, self.grey))

    @property
    def leaves_images(self) -> bool:
        """Whether images stay as they are."""
        return self == Augmentation()


AUGMENTATIONS = {
    "none": Augmentation(),
    "shift": Augmentation(shift=0.125),
    "shift-flip": Augmentation(shift=0.125, flip=True),
    "crop": Augmentation(crop=0.35, flip=True),
    "views": Augmentation(
        crop=0.2, flip=True, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2
    ),
}

# A mirrored digit is another sign, or none.
_UNFLIPPABLE = frozenset({"digits", "mnist"})

_MAX_LOG_RATIO: Final = math.log(4 / 3)

_LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as in Pillow)."""


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
    if augmentation.crop < 1:
        images = _cropped(images, augmentation, generator)
    elif augmentation.shift or augmentation.flip:
        images = _shifted(images, augmentation, generator)
    if augmentation.changes_colours:
        images = _recoloured(images, augmentation, generator)
    if augmentation.cutout:
        images = _blotted(images, augmentation.cutout, generator)
    return images


def _shifted(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    n_images, height, width, _ = images.shape
    rows = _positions(n_images, height, augmentation.shift, generator)
    columns = _positions(n_images, width, augmentation.shift, generator)
    if augmentation.flip:
        flipped = torch.rand(n_images, generator=generator) < 0.5
        columns = torch.where(flipped[:, None], columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(n_images, -1)
    flat += torch.arange(n_images)[:, None] * (height * width)
    pixels = images.reshape(-1, 3)
    return pixels[flat.reshape(-1).to(images.device)].reshape(images.shape)


def _positions(n_images: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Where each row (or column) is looked up: int64 [n_images, side]."""
    reach = min(round(side * share), side - 1)
    offsets = torch.randint(-reach, reach + 1, (n_images, 1), generator=generator)
    positions = (torch.arange(side) + offsets).abs()
    return (side - 1) - ((side - 1) - positions).abs()


def _cropped(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Random windows, enlarged to the whole, half of them mirrored if so asked.

    A window is never larger than the image, so pixels are only ever interpolated, and nothing has
    to be smoothed before.
    """
    n_images = len(images)
    draws = torch.rand(5, n_images, generator=generator)
    area = augmentation.crop + (1 - augmentation.crop) * draws[0]
    stretch = ((2 * draws[1] - 1) * _MAX_LOG_RATIO / 2).exp()
    width = (area.sqrt() * stretch).clamp(max=1)
    height = (area.sqrt() / stretch).clamp(max=1)
    # In the coordinates of affine_grid an image goes from -1 to 1, whatever its size.
    transforms = torch.zeros(n_images, 2, 3)
    transforms[:, 0, 0] = torch.where(draws[4] < 0.5, -width, width) if augmentation.flip else width
    transforms[:, 1, 1] = height
    transforms[:, 0, 2] = (1 - width) * (2 * draws[2] - 1)
    transforms[:, 1, 2] = (1 - height) * (2 * draws[3] - 1)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(transforms.to(images.device), list(pixels.shape), align_corners=False)
    cropped = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return _to_bytes(cropped.permute(0, 2, 3, 1)).contiguous()


def _recoloured(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation changed, in this order, and some images made grey."""
    strengths = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    draws = torch.rand(4, len(images), 1, 1, 1, generator=generator)
    factors = 1 + (2 * draws[:3] - 1) * torch.tensor(strengths).reshape(3, 1, 1, 1, 1)
    factors[2][draws[3] < augmentation.grey] = 0
    brightness, contrast, saturation = factors.to(images.device)
    luma = torch.tensor(_LUMA, device=images.device)
    colours = (images * brightness).clamp(max=255)
    mean = (colours @ luma).mean(dim=(1, 2))[:, None, None, None]
    colours = torch.lerp(mean, colours, contrast).clamp(0, 255)
    return _to_bytes(torch.lerp((colours @ luma)[..., None], colours, saturation))


def _blotted(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A square of each image in the image's mean colour.

    The mean, and not one grey for all, so that images keep theirs but for what the square hides,
    and digits on black get no bright square, which would be a stroke of its own.
    """
    n_images, height, width, _ = images.shape
    side = round(min(height, width) * share)
    rows = _in_square(n_images, height, side, generator)
    columns = _in_square(n_images, width, side, generator)
    square = (rows[:, :, None] & columns[:, None, :])[..., None].to(images.device)
    colours = images.float().mean(dim=(1, 2), keepdim=True)
    return torch.where(square, _to_bytes(colours), images)


def _in_square(n_images: int, length: int, side: int, generator: torch.Generator) -> Tensor:
    """Which rows (or columns) the square covers, cut at the borders: bool [n_images, length]."""
    starts = torch.randint(0, length, (n_images, 1), generator=generator) - side // 2
    places = torch.arange(length) - starts
    return (places >= 0) & (places < side)


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
