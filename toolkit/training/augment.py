"""Augmentation on the device, a whole batch or several at a time.

What is random is drawn first, on the CPU and batch by batch (`draw`), and then applied on the
device to as many images as are there (`augment`). Shift and flip are one gather: the pixel that
lands at (y, x) is looked up at (y + dy, x + dx), reflected at the borders and mirrored where the
image is flipped. Crops, which need pixels between pixels, and flips with them, are one resampling.
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

__all__ = ["AUGMENTATIONS", "Augmentation", "Draws", "augment", "choose_augmentation", "draw"]


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


@dataclasses.dataclass(frozen=True)
class Draws:
    """What was drawn for the images of one or more batches; None where nothing is varied.

    Attributes
    ----------
    shifts
        int64 [N, 2], pixels down and to the right.
    is_flipped
        bool [N], whether a shifted image is mirrored left to right.
    windows
        float32 [N, 2, 3], the crop of each image as `torch.nn.functional.affine_grid` takes it.
    factors
        float32 [N, 3], on brightness, contrast and saturation.
    squares
        int64 [N, 2], first row and column of the square that is cut out; may be negative.
    """

    shifts: Tensor | None = None
    is_flipped: Tensor | None = None
    windows: Tensor | None = None
    factors: Tensor | None = None
    squares: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[Draws]) -> Draws:
        """Draws of several batches as those of one."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(_joined(values) for values in zip(*map(_fields, parts), strict=True)))

    def to(self, device: torch.device) -> Draws:
        """The same on a device."""
        return Draws(
            *(value if value is None else to_device(value, device) for value in _fields(self))
        )


def draw(
    n_images: int, size: tuple[int, int], augmentation: Augmentation, generator: torch.Generator
) -> Draws:
    """Draw how the images of a batch are varied.

    Parameters
    ----------
    n_images
        Images of the batch.
    size
        (height, width), pixels.
    augmentation
        How far they are varied.
    generator
        On the CPU whatever the device of the images, so that all devices draw alike.
    """
    shifts = is_flipped = windows = factors = squares = None
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
        side = _square_side(size, augmentation.cutout)
        starts = [torch.randint(0, length, (n_images, 1), generator=generator) for length in size]
        squares = torch.cat(starts, dim=1) - side // 2
    return Draws(shifts, is_flipped, windows, factors, squares)


def augment(images: Tensor, augmentation: Augmentation, draws: Draws) -> Tensor:
    """Vary images as was drawn for them; each image by itself, however many there are.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3].
    augmentation
        What the draws were made for.
    draws
        On the device of the images, see `draw`.

    Returns
    -------
    Tensor
        uint8 [N, H, W, 3].
    """
    if draws.windows is not None:
        images = _cropped(images, draws.windows)
    elif draws.shifts is not None:
        images = _shifted(images, draws.shifts, draws.is_flipped)
    if draws.factors is not None:
        images = _recoloured(images, draws.factors)
    if draws.squares is not None:
        side = _square_side((images.shape[1], images.shape[2]), augmentation.cutout)
        images = _blotted(images, draws.squares, side)
    return images


def _fields(draws: Draws) -> tuple[Tensor | None, ...]:
    return (draws.shifts, draws.is_flipped, draws.windows, draws.factors, draws.squares)


def _joined(values: Sequence[Tensor | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.cat(present) if present else None


def _draw_shifts(n_images: int, side: int, share: float, generator: torch.Generator) -> Tensor:
    """Pixels that each image is shifted by along one side: int64 [n_images, 1]."""
    reach = min(round(side * share), side - 1)
    return torch.randint(-reach, reach + 1, (n_images, 1), generator=generator)


def _shifted(images: Tensor, shifts: Tensor, is_flipped: Tensor | None) -> Tensor:
    n_images, height, width, _ = images.shape
    rows = _positions(height, shifts[:, :1])
    columns = _positions(width, shifts[:, 1:])
    if is_flipped is not None:
        columns = torch.where(is_flipped[:, None], columns.flip(1), columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(n_images, -1)
    flat += torch.arange(n_images, device=images.device)[:, None] * (height * width)
    return images.reshape(-1, 3)[flat.reshape(-1)].reshape(images.shape)


def _positions(side: int, offsets: Tensor) -> Tensor:
    """Where each row (or column) is looked up, reflected at the borders: int64 [n_images, side]."""
    positions = (torch.arange(side, device=offsets.device) + offsets).abs()
    return (side - 1) - ((side - 1) - positions).abs()


def _draw_windows(n_images: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Random windows of the images, float32 [n_images, 2, 3], half of them mirrored with ``flip``.

    A window is never larger than the image, so pixels are only ever interpolated, and nothing has
    to be smoothed before.
    """
    draws = torch.rand(5, n_images, generator=generator)
    area = augmentation.crop + (1 - augmentation.crop) * draws[0]
    stretch = ((2 * draws[1] - 1) * _MAX_LOG_RATIO / 2).exp()
    width = (area.sqrt() * stretch).clamp(max=1)
    height = (area.sqrt() / stretch).clamp(max=1)
    # In the coordinates of affine_grid an image goes from -1 to 1, whatever its size.
    windows = torch.zeros(n_images, 2, 3)
    windows[:, 0, 0] = torch.where(draws[4] < 0.5, -width, width) if augmentation.flip else width
    windows[:, 1, 1] = height
    windows[:, 0, 2] = (1 - width) * (2 * draws[2] - 1)
    windows[:, 1, 2] = (1 - height) * (2 * draws[3] - 1)
    return windows


def _cropped(images: Tensor, windows: Tensor) -> Tensor:
    """Windows of the images, enlarged to the whole."""
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


def _recoloured(images: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation changed, in this order."""
    brightness, contrast, saturation = factors.T[..., None, None, None]
    luma = to_device(torch.tensor(_LUMA), images.device)
    colours = (images * brightness).clamp(max=255)
    mean = (colours @ luma).mean(dim=(1, 2))[:, None, None, None]
    colours = torch.lerp(mean, colours, contrast).clamp(0, 255)
    return _to_bytes(torch.lerp((colours @ luma)[..., None], colours, saturation))


def _square_side(size: tuple[int, int], share: float) -> int:
    """Side of the square that is cut out, pixels."""
    return round(min(size) * share)


def _blotted(images: Tensor, squares: Tensor, side: int) -> Tensor:
    """A square of each image in the image's mean colour.

    The mean, and not one grey for all, so that images keep theirs but for what the square hides,
    and digits on black get no bright square, which would be a stroke of its own.
    """
    rows = _in_square(images.shape[1], squares[:, :1], side)
    columns = _in_square(images.shape[2], squares[:, 1:], side)
    square = (rows[:, :, None] & columns[:, None, :])[..., None]
    colours = images.float().mean(dim=(1, 2), keepdim=True)
    return torch.where(square, _to_bytes(colours), images)


def _in_square(length: int, starts: Tensor, side: int) -> Tensor:
    """Which rows (or columns) the square covers, cut at the borders: bool [n_images, length]."""
    places = torch.arange(length, device=starts.device) - starts
    return (places >= 0) & (places < side)


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)
