"""Random operations on images: TrivialAugment and RandAugment, for a batch at a time.

Mueller and Hutter, *TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation*, ICCV 2021
(arXiv 2103.10158): one operation per image with a random strength; here its wide space. Cubuk et
al., *RandAugment*, 2019 (arXiv 1909.13719): two operations per image with a fixed strength. The 14
operations are those of Pillow as in torchvision's ``TrivialAugmentWide`` and ``RandAugment``.
They are written for batches: a call per image takes six times as long on a CPU. Pixels from outside
the image are black.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.devices import to_device

__all__ = ["OPERATIONS", "POLICIES", "Policy", "apply_operations", "draw_operations", "grey_of"]

_N_LEVELS: Final = 30
"""Strengths are multiples of a 30th of the largest."""

_LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as in Pillow)."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """Number of operations, and their largest strengths.

    Attributes
    ----------
    n_operations
        Operations per image, one after the other.
    level
        Strength of every operation, in 30ths of the largest; None for a random one.
    shear
        Tangent of the angle.
    shift_pixels, shift_share
        Largest shift in pixels, and as a fraction of the side; the smaller one counts.
    degrees
        Angle of a rotation.
    factor
        Deviation from 1 of the factor on brightness, colour, contrast and sharpness.
    bits_lost
        Lowest bits of each colour that are set to 0.
    """

    n_operations: int
    level: int | None
    shear: float
    shift_pixels: float
    shift_share: float
    degrees: float
    factor: float
    bits_lost: int


POLICIES: Final[Mapping[str, Policy | None]] = {
    "none": None,
    "trivial": Policy(
        n_operations=1,
        level=None,
        shear=0.99,
        shift_pixels=32,
        shift_share=1,
        degrees=135,
        factor=0.99,
        bits_lost=6,
    ),
    "rand": Policy(
        n_operations=2,
        level=9,
        shear=0.3,
        shift_pixels=math.inf,
        shift_share=150 / 331,
        degrees=30,
        factor=0.9,
        bits_lost=4,
    ),
}
"""Policies by name."""


def draw_operations(
    n_images: int, policy: Policy, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw the operations of a batch.

    Parameters
    ----------
    n_images
        Images in the batch.
    policy
        The policy.
    generator
        CPU generator.

    Returns
    -------
    tuple of Tensor
        int64 [n_images, n_operations], indices into `OPERATIONS`; and float32 [n_images,
        n_operations], their strengths, from -1 to 1.
    """
    shape = (n_images, policy.n_operations)
    operations = torch.randint(len(OPERATIONS), shape, generator=generator)
    if policy.level is None:
        levels = torch.randint(_N_LEVELS + 1, shape, generator=generator)
    else:
        levels = torch.full(shape, policy.level)
    signs = 2 * torch.randint(2, shape, generator=generator) - 1
    return operations, signs * levels / _N_LEVELS


def apply_operations(
    images: Tensor, policy: Policy, operations: Tensor, strengths: Tensor
) -> Tensor:
    """Apply drawn operations to images; the result for an image does not depend on the others.

    Parameters
    ----------
    images
        uint8 [N, H, W, 3].
    policy
        The policy that they were drawn for.
    operations
        See `draw_operations`; on the CPU, so that a GPU is not waited for.
    strengths
        See `draw_operations`; on the device of the images.

    Returns
    -------
    Tensor
        uint8 [N, H, W, 3].
    """
    changed = images.clone()
    for number in range(policy.n_operations):
        chosen = operations[:, number]
        for index in torch.unique(chosen).tolist():
            rows = to_device((chosen == index).nonzero()[:, 0], images.device)
            operation = list(OPERATIONS.values())[index]
            changed[rows] = operation(changed[rows], strengths[rows, number], policy)
    return changed


def grey_of(colours: Tensor) -> Tensor:
    """Grey of each pixel: float [..., 3] -> float [...]."""
    return colours @ to_device(torch.tensor(_LUMA), colours.device)


def _identity(images: Tensor, _: Tensor, __: Policy) -> Tensor:
    return images


def _shear_x(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    height, width = images.shape[1:3]
    slope = strengths * policy.shear * height / width  # about the top left corner
    return _resampled(images, ((1, slope, slope), (0, 1, 0)))


def _shear_y(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    height, width = images.shape[1:3]
    slope = strengths * policy.shear * width / height
    return _resampled(images, ((1, 0, 0), (slope, 1, slope)))


def _shift_x(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    shift = _shift(images.shape[2], strengths, policy)
    return _resampled(images, ((1, 0, shift), (0, 1, 0)))


def _shift_y(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    shift = _shift(images.shape[1], strengths, policy)
    return _resampled(images, ((1, 0, 0), (0, 1, shift)))


def _shift(side: int, strengths: Tensor, policy: Policy) -> Tensor:
    """Shift to the right or down, in the coordinates of `affine_grid`, by whole pixels."""
    most = min(policy.shift_pixels, policy.shift_share * side)
    return -(strengths * most).trunc() * (2 / side)


def _rotate(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    height, width = images.shape[1:3]
    angle = -strengths * math.radians(policy.degrees)
    sine, cosine = angle.sin(), angle.cos()
    rows = (cosine, sine * (height / width), 0), (-sine * (width / height), cosine, 0)
    return _resampled(images, rows)


def _resampled(images: Tensor, rows: tuple[tuple[Tensor | float, ...], ...]) -> Tensor:
    """Nearest pixels under an affine map, whose matrix has these rows, from output to input.

    In the coordinates of `affine_grid` an image extends from -1 to 1, whatever its size.
    """
    maps = torch.zeros(len(images), 2, 3, device=images.device)
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            maps[:, row, column] = value
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(maps, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, mode="nearest", align_corners=False)
    return moved.to(torch.uint8).permute(0, 2, 3, 1)


def _brightness(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    return _blended(torch.zeros_like(images), images, strengths, policy)


def _colour(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    return _blended(grey_of(images.float())[..., None], images, strengths, policy)


def _contrast(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    mean = grey_of(images.float()).mean(dim=(1, 2))[:, None, None, None]
    return _blended(mean, images, strengths, policy)


def _sharpness(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    """Blend with a blurred image, whose border is that of the image itself."""
    if min(images.shape[1:3]) < 3:
        return images
    kernel = torch.full((3, 1, 3, 3), 1 / 13, device=images.device)
    kernel[:, :, 1, 1] = 5 / 13
    inner = F.conv2d(images.permute(0, 3, 1, 2).float(), kernel, groups=3)
    blurred = images.float()
    blurred[:, 1:-1, 1:-1] = inner.permute(0, 2, 3, 1).round()
    return _blended(blurred, images, strengths, policy)


def _blended(plain: Tensor, images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    """From a plain image (factor 0) to the image (1) and as far beyond (2)."""
    factors = (1 + strengths * policy.factor)[:, None, None, None]
    return torch.lerp(plain.float(), images.float(), factors).clamp(0, 255).to(torch.uint8)


def _posterise(images: Tensor, strengths: Tensor, policy: Policy) -> Tensor:
    step = 2 ** (strengths.abs() * policy.bits_lost).round().to(torch.int32)
    step = step[:, None, None, None]
    return (images // step * step).to(torch.uint8)


def _solarise(images: Tensor, strengths: Tensor, _: Policy) -> Tensor:
    """Invert the values from a threshold on, which is 0 at the largest strength."""
    thresholds = (255 * (1 - strengths.abs()))[:, None, None, None]
    return torch.where(images >= thresholds, 255 - images, images)


def _autocontrast(images: Tensor, _: Tensor, __: Policy) -> Tensor:
    """Stretch each channel to 0 to 255; a channel of one value stays."""
    low = images.amin(dim=(1, 2), keepdim=True).float()
    span = images.amax(dim=(1, 2), keepdim=True).float() - low
    stretched = ((images - low) * (255 / span.clamp(min=1))).clamp(0, 255).to(torch.uint8)
    return torch.where(span > 0, stretched, images)


def _equalise(images: Tensor, _: Tensor, __: Policy) -> Tensor:
    """Make each channel's histogram flat, with the whole numbers that Pillow computes."""
    values = images.permute(0, 3, 1, 2).reshape(3 * len(images), -1).long()
    counts = torch.zeros(len(values), 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, values, torch.ones_like(values))
    # All pixels but those of the highest value, in 255 steps.
    step = (values.shape[1] - counts.gather(1, values.amax(1, keepdim=True))) // 255
    below = counts.cumsum(1) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    found = torch.where(step > 0, table.gather(1, values), values)
    n_images, height, width = images.shape[:3]
    return found.to(torch.uint8).reshape(n_images, 3, height, width).permute(0, 2, 3, 1)


_Operation = Callable[[Tensor, Tensor, Policy], Tensor]

OPERATIONS: Final[Mapping[str, _Operation]] = {
    "identity": _identity,
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "shift-x": _shift_x,
    "shift-y": _shift_y,
    "rotate": _rotate,
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterise": _posterise,
    "solarise": _solarise,
    "autocontrast": _autocontrast,
    "equalise": _equalise,
}
"""Operations by name: images uint8 [n, H, W, 3], strengths float32 [n], policy -> images."""
