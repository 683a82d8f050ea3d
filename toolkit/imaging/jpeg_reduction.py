"""Decodes JPEG files at a fraction of their size, which is several times as fast.

A decoder can leave out the high frequencies of each 8x8 block and return 4x4, 2x2 or 1x1 pixels for
it (libjpeg's scaling, which Pillow calls draft mode). Resampling to a small size averages these
frequencies away, up to rounding.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from PIL import Image

__all__ = ["Box", "reduce_jpeg", "reduction", "region"]

Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

_FORMATS: Final = frozenset({"JPEG", "MPO"})
_REDUCTIONS: Final = (8, 4, 2)
_MIN_RATIO: Final = 2
"""Minimum ratio of a reduced image's shorter side to the model's longer side."""

_LEFT, _TOP, _RIGHT, _BOTTOM = range(4)
_RIGHT_AND_BOTTOM: Final = {
    1: (_RIGHT, _BOTTOM),
    2: (_LEFT, _BOTTOM),
    3: (_LEFT, _TOP),
    4: (_RIGHT, _TOP),
    5: (_BOTTOM, _RIGHT),
    6: (_BOTTOM, _LEFT),
    7: (_TOP, _LEFT),
    8: (_TOP, _RIGHT),
}
"""Sides of the upright image that are the stored image's right and bottom, by EXIF orientation."""


def reduction(shape: tuple[int, int], size: tuple[int, int]) -> int:
    """Factor by which a ``reduced`` rule divides both sides of a JPEG image: 1, 2, 4 or 8.

    It is the largest that leaves the image's shorter side at least twice the model's longer side,
    so that the resampling afterwards still averages over several pixels. Orientation and crop do
    not affect it.

    Parameters
    ----------
    shape, size
        (height, width) of the image and of the model, pixels.
    """
    most = min(shape) // (_MIN_RATIO * max(size))
    return next((factor for factor in _REDUCTIONS if factor <= most), 1)


def reduce_jpeg(image: Image.Image, size: tuple[int, int]) -> tuple[float, float]:
    """Set an opened image that is not loaded yet to decode at a smaller size if it is a large JPEG.

    Parameters
    ----------
    image
        The image, as opened by Pillow.
    size
        (height, width) of the model, pixels.

    Returns
    -------
    tuple
        How far the smaller image extends beyond the picture on the right and at the bottom, in its
        own pixels: sides that the factor does not divide are rounded up.
    """
    factor = reduction((image.height, image.width), size)
    if factor == 1 or image.format not in _FORMATS:
        return 0.0, 0.0
    width, height = image.size
    image.draft(image.mode, (width // factor, height // factor))
    return image.width - width / factor, image.height - height / factor


def region(image: Image.Image, orientation: int, beyond: tuple[float, float]) -> Box:
    """The part of an upright image that belongs to the picture, without rounded-up borders.

    Parameters
    ----------
    image
        The upright image.
    orientation
        Its EXIF orientation when stored.
    beyond
        The result of `reduce_jpeg`.
    """
    box = [0.0, 0.0, float(image.width), float(image.height)]
    sides = _RIGHT_AND_BOTTOM.get(orientation, _RIGHT_AND_BOTTOM[1])
    for side, excess in zip(sides, beyond, strict=True):
        box[side] += excess if side in (_LEFT, _TOP) else -excess
    return box[0], box[1], box[2], box[3]
