"""Converts decoded pixels of every kind to 8-bit RGB, by rules that do not depend on the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashkit.errors import ImageError
from hashkit.imaging.tiff import tag_numbers

__all__ = ["to_rgb"]

_WHITE: Final = (255, 255, 255, 255)
_BAND_ROWS: Final = 256

# Tags of TIFF files: TIFF Revision 6.0, section 8.
_BITS_PER_SAMPLE: Final = 258
_COMPRESSION: Final = 259
_PHOTOMETRIC: Final = 262
_PLANES: Final = 284
_SAMPLE_FORMAT: Final = 339
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2
_NOT_COMPRESSED: Final = 1
_SEPARATE: Final = 2


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a decoded image to RGB; transparent parts become white.

    Raises
    ------
    ImageError
        ``unsupported`` if its pixels have no defined conversion; ``name`` is that of the image.
    """
    if _is_signed(image):
        raise _unsupported(name, "signed", "have no fixed range")
    if _is_misread(image):
        raise _unsupported(name, "16-bit", "in separate planes, not compressed, are not read")
    if image.mode.startswith("I;16"):
        return _by_bands(image, _from_16_bits)
    if image.mode in ("I", "F"):
        kind = "32-bit integer" if image.mode == "I" else "floating point"
        raise _unsupported(name, kind, "have no fixed range")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        return _by_bands(image, _over_white)
    except ValueError:
        raise _unsupported(name, image.mode, "cannot be converted to RGB") from None


def _unsupported(name: str, kind: str, why: str) -> ImageError:
    return ImageError(
        f"{name}: {kind} pixels {why}; save the image with 8 or 16 bits per channel, grey or RGB",
        "unsupported",
    )


def _by_bands(
    image: Image.Image, convert: Callable[[Image.Image, Image.Image], Image.Image]
) -> Image.Image:
    """Convert an image a band of rows at a time, so that only the source and the result are whole.

    ``convert`` gets a band and the whole image, whose tags a band lacks.
    """
    rgb = Image.new("RGB", image.size)
    for top in range(0, image.height, _BAND_ROWS):
        box = (0, top, image.width, min(top + _BAND_ROWS, image.height))
        rgb.paste(convert(image.crop(box), image), box)
    return rgb


def _over_white(band: Image.Image, _: Image.Image) -> Image.Image:
    if band.mode == "La":  # grey already multiplied by its opacity
        band = band.convert("LA")
    paper = Image.new("RGBA", band.size, _WHITE)
    return Image.alpha_composite(paper, band.convert("RGBA")).convert("RGB")


def _from_16_bits(band: Image.Image, image: Image.Image) -> Image.Image:
    """The high byte of each value; white where a value counts as transparent."""
    values: NDArray[np.uint16] = np.asarray(band).astype(np.uint16)
    (n_bits,) = _tag(image, _BITS_PER_SAMPLE)[:1] or (16,)
    if n_bits < 16:
        values = values << np.uint16(16 - n_bits)
    if _tag(image, _PHOTOMETRIC) == (_WHITE_IS_ZERO,):
        values = ~values
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _is_signed(image: Image.Image) -> bool:
    return _SIGNED in _tag(image, _SAMPLE_FORMAT)


def _is_misread(image: Image.Image) -> bool:
    """Whether the channels of a TIFF file have 16 bits each and lie one after another.

    Pillow reads such planes, if not compressed, as bytes, which gives a wrong picture.
    """
    bits = _tag(image, _BITS_PER_SAMPLE)
    return (
        len(bits) > 1
        and max(bits) > 8
        and _SEPARATE in _tag(image, _PLANES)
        and _tag(image, _COMPRESSION) in ((), (_NOT_COMPRESSED,))
    )


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Value of a tag of a TIFF file; empty for other images."""
    tags: Any = getattr(image, "tag_v2", None)
    return () if tags is None else tag_numbers(tags, number)
