"""Converts decoded pixels of every kind to 8-bit RGB, by rules that do not depend on the file."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashkit.errors import ImageError

__all__ = ["to_rgb"]

_WHITE: Final = (255, 255, 255, 255)

# Tags of TIFF files: TIFF Revision 6.0, section 8.
_BITS_PER_SAMPLE: Final = 258
_PHOTOMETRIC: Final = 262
_SAMPLE_FORMAT: Final = 339
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert a decoded image to RGB; transparent parts show white.

    Raises
    ------
    ImageError
        ``unsupported`` if its pixels have no defined conversion; ``name`` is that of the image.
    """
    if _is_signed(image):
        raise _unsupported(name, "signed", "have no fixed range")
    if image.mode.startswith("I;16"):
        return _from_16_bits(image)
    if image.mode in ("I", "F"):
        kind = "32-bit integer" if image.mode == "I" else "floating point"
        raise _unsupported(name, kind, "have no fixed range")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        if image.mode == "La":  # grey already multiplied by its opacity
            image = image.convert("LA")
        paper = Image.new("RGBA", image.size, _WHITE)
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    except ValueError:
        raise _unsupported(name, image.mode, "cannot be converted to RGB") from None


def _unsupported(name: str, kind: str, why: str) -> ImageError:
    return ImageError(
        f"{name}: {kind} pixels {why}; save the image with 8 or 16 bits per channel, grey or RGB",
        "unsupported",
    )


def _from_16_bits(image: Image.Image) -> Image.Image:
    """The high byte of each value; white where a value counts as transparent."""
    values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16)
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


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    """Value of a tag of a TIFF file; empty for other images."""
    tags: Any = getattr(image, "tag_v2", None)
    value = None if tags is None else tags.get(number)
    if value is None:
        return ()
    return tuple(value) if isinstance(value, tuple) else (int(value),)
