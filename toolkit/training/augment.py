"""Augmentation on the device, for one batch or several at a time.

Random values are drawn first, on the CPU and batch by batch (`draw`), and then applied on the
device to any number of images (`augment`). Shift and flip are one gather: the pixel at (y, x) comes
from (y + dy, x + dx), with reflection at the borders, and mirrored if the image is flipped. Crop
and flip are one resampling, because crops need values between pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.errors import ConfigError
from hashkit.training.devices import to_device
from hashkit.training.policies import POLICIES, apply_operations, draw_operations, grey_of

__all__ = ["AUGMENTATIONS", "Augmentation", "Draws", "augment", "choose_augmentation", "draw"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Strength of each random change of training images; the defaults change nothing.

    Attributes
    ----------
    shift
        Largest shift in each direction, as a fraction of the image's side; not with ``crop``.
    flip
        Whether half of the images are mirrored left to right.
    cutout
        Side of a square that is masked, as a fraction of the image's shorter side. Its centre may
        be any pixel, so part of it may lie outside (DeVries and Taylor 2017, arXiv 1708.04552).
    crop
        Smallest fraction of the image's area that is cropped and resized to the full size. The
        fraction is drawn up to 1, and the ratio of width to height between 3/4 and 4/3 times that
        of the image; sides are limited to those of the image.
    brightness, contrast, saturation
        Largest deviation from 1 of three random factors: on all colours, on differences from the
        image's mean grey, and on differences from each pixel's grey.
    grey
        Fraction of the images that are converted to grey.
    policy
        A name of `hashkit.training.policies.POLICIES`: random operations on each image.
    """

    shift: float = 0.0
    flip: bool = False
    cutout: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    policy: str = "none"

    def __post_init__(self) -> None:
        if self.crop < 1 and self.shift:
            raise ConfigError(
                "crop and shift exclude each other, because crops are at random places: set "
                "shift to 0 or crop to 1"
            )

    @property
    def changes_colours(self) -> bool:
        """Whether colours change."""
        return any((self.brightness, self.contrast, self.saturation, self.grey))

    @property
    def leaves_images(self) -> bool:
        """Whether nothing changes."""
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

# A mirrored digit is a different sign or not a digit.
_UNFLIPPABLE = frozenset({"digits", "mnist"})

_MAX_LOG_RATIO: Final = math.log(4 / 3)


def choose_augmentation(name: str, dataset: str) -> Augmentation:
    """Augmentation of `AUGMENTATIONS` by name; ``auto`` chooses by image set.

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


@dataclasses.dataclass(frozen=True)
class Draws:
    """Random values for the images of one or more batches; None for changes that are disabled.

    Attributes
    ----------
    shifts
        int64 [N, 2], pixels down and to the right.
    is_flipped
        bool [N], whether a shifted image is mirrored left to right.
    windows
        float32 [N, 2, 3], the crop of each image as a matrix for
        `torch.nn.functional.affine_grid`.
    factors
        float32 [N, 3], factors on brightness, contrast and saturation.
    squares
        int64 [N, 2], first row and column of the square that is masked; may be negative.
    operations, strengths
        int64 [N, n], on the CPU, and float32 [N, n], see
        `hashkit.training.policies.draw_operations`.
    """

    shifts: Tensor | None = None
    is_flipped: Tensor | None = None
    windows: Tensor | None = None
    factors: Tensor | None = None
    squares: Tensor | None = None
    strengths: Tensor | None = None
    operations: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[Draws]) -> Draws:
        """Concatenate the draws of several batches."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(_joined(values) for values in zip(*map(_fields, parts), strict=True)))

    def to(self, device: torch.device) -> Draws:
        """Copy to a device, except for ``operations``."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "operations"]
        drawn = {name: getattr(self, name) for name in names}
        moved = {name: to_device(v, device) for name, v in drawn.items() if v is not None}
        return dataclasses.replace(self, **moved)


def draw(
    n_images: int, size: tuple[int, int], augmentation: Augmentation, generator: torch.Generator
) -> Draws:
    """Draw the random values of a batch.

    Parameters
    ----------
    n_images
        Images in the batch.
    size
        (height, width), pixels.
    augmentation
        Strength of each change.
    generator
        CPU generator, whatever the device of the images, so that all devices get the same values.
    """
    shifts = is_flipped = windows = factors = squares = operations = strengths = None
    if augmentation.crop < 1:
        windows = _draw_windows(n_images, augmentation, generator)
    elif augmentation.shift or augmentation.flip:
        shifts = torch.cat(
            [_draw_shifts(n_images, side, augmentation.shift, generator) for side in size], dim=1
        )
        if augmentation.flip:
            is_flipped = torch.rand(n_images, generator=generator) < 0.5
    if augmentation.changes_colours:
        factors = _draw_factors(n_images, augmentation, generator)
    if augmentation.cutout:
        side = _cutout_side(size, augmentation.cutout)
        starts = [torch.randint(0, length, (n_images, 1), generator=generator) for length in size]
        squares = torch.cat(starts, dim=1) - side // 2
    if (policy := POLICIES[augmentation.policy]) is not None:
        operations, strengths = draw_operations(n_images, policy, generator)
    return Draws(shifts, is_flipped, windows, factors, squares, strengths, operations)


def augment(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Apply drawn changes to images; the result for an image does not depend on the others.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3].
    augmentation
        The augmentation that the values were drawn for.
    draws
        Result of `draw`, on the device of the images.

    Returns
    -------
    Tensor
        uint8 [N, H, W, 3].
    """
    if draws.windows is not None:
        images = _crop(images, draws.windows)
    elif draws.shifts is not None:
        images = _shift_and_flip(images, draws.shifts, draws.is_flipped)
    policy = POLICIES[augmentation.policy]
    if policy is not None and draws.operations is not None and draws.strengths is not None:
        images = apply_operations(images, policy, draws.operations, draws.strengths)
    if draws.factors is not None:
        images = _change_colours(images, draws.factors)
    if draws.squares is not None:
        side = _cutout_side((images.shape[1], images.shape[2]), augmentation.cutout)
        images = _cutout(images, draws.squares, side)
    return images


def _fields(draws: Draws) -> tuple[Tensor | None, ...]:
    return tuple(getattr(draws, field.name) for field in dataclasses.fields(draws))


def _joined(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.cat(present) if present else None


def _draw_shifts(n_images: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Shift of each image along one side, in pixels: int64 [n_images, 1]."""
    reach = min(round(side * share), side - 1)
    return torch.randint(-reach, reach + 1, (n_images, 1), generator=generator)


def _shift_and_flip(images: Tensor, shifts: Tensor, is_flipped: Tensor | None) -> Tensor:
    n_images, height, width, _ = images.shape
    rows = _positions(height, shifts[:, :1])
    columns = _positions(width, shifts[:, 1:])
    if is_flipped is not None:
        columns = torch.where(is_flipped[:, None], columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(n_images, -1)
    flat += torch.arange(n_images, device=images.device)[:, None] * (height * width)
    return images.reshape(-1, 3)[flat.reshape(-1)].reshape(images.shape)


def _positions(side: int, offsets: Tensor) -> Tensor:
    """Source of each row (or column), reflected at the borders: int64 [n_images, side]."""
    positions = (torch.arange(side, device=offsets.device) + offsets).abs()
    return (side - 1) - ((side - 1) - positions).abs()


def _draw_windows(n_images: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Random windows of the images, float32 [n_images, 2, 3], half of them mirrored with ``flip``.

    A window is never larger than the image, so resampling only enlarges and needs no low-pass
    filter.
    """
    draws = torch.rand(5, n_images, generator=generator)
    area = augmentation.crop + (1 - augmentation.crop) * draws[0]
    stretch = ((2 * draws[1] - 1) * _MAX_LOG_RATIO / 2).exp()
    width = (area.sqrt() * stretch).clamp(max=1)
    height = (area.sqrt() / stretch).clamp(max=1)
    # In the coordinates of affine_grid an image extends from -1 to 1, whatever its size.
    windows = torch.zeros(n_images, 2, 3)
    windows[:, 0, 0] = torch.where(draws[4] < 0.5, -width, width) if augmentation.flip else width
    windows[:, 1, 1] = height
    windows[:, 0, 2] = (1 - width) * (2 * draws[2] - 1)
    windows[:, 1, 2] = (1 - height) * (2 * draws[3] - 1)
    return windows


def _crop(images: Tensor, windows: Tensor) -> Tensor:
    """Windows of the images, resized to the full size."""
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(windows, list(pixels.shape), align_corners=False)
    cropped = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    return _to_bytes(cropped.permute(0, 2, 3, 1)).contiguous()


def _draw_factors(n_images: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Factors on brightness, contrast and saturation (0 for grey): float32 [n_images, 3]."""
    strengths = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    draws = torch.rand(4, n_images, generator=generator)
    factors = 1 + (2 * draws[:3] - 1) * torch.tensor(strengths)[:, None]
    factors[2][draws[3] < augmentation.grey] = 0
    return factors.T


def _change_colours(images: Tensor, factors: Tensor) -> Tensor:
    """Change brightness, contrast and saturation, in this order."""
    brightness, contrast, saturation = factors.T[..., None, None, None]
    colours = (images * brightness).clamp(max=255)
    mean = grey_of(colours).mean(dim=(1, 2))[:, None, None, None]
    colours = torch.lerp(mean, colours, contrast).clamp(0, 255)
    return _to_bytes(torch.lerp(grey_of(colours)[..., None], colours, saturation))


def _cutout_side(size: tuple[int, int], share: float) -> int:
    """Side of the masked square, in pixels."""
    return round(min(size) * share)


def _cutout(images: Tensor, squares: Tensor, side: int) -> Tensor:
    """Fill a square of each image with the image's mean colour.

    The mean, not a fixed grey, so that the mean colour of images changes little, and digits on
    black do not get a bright square that looks like a stroke.
    """
    rows = _in_square(images.shape[1], squares[:, :1], side)
    columns = _in_square(images.shape[2], squares[:, 1:], side)
    square = (rows[:, :, None] & columns[:, None, :])[..., None]
    colours = images.float().mean(dim=(1, 2), keepdim=True)
    return torch.where(square, _to_bytes(colours), images)


def _in_square(length: int, starts: Tensor, side: int) -> Tensor:
    """Whether the square covers each row (or column): bool [n_images, length]."""
    places = torch.arange(length, device=starts.device) - starts
    return (places >= 0) & (places < side)


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
