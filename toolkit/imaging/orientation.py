"""The orientation that an image's metadata states: read, applied and written."""

from __future__ import annotations

import struct
from typing import Final

from PIL import ExifTags, Image

__all__ = ["EXIF_ERRORS", "exif_of_orientation", "orientation_of", "upright"]

EXIF_ERRORS: Final = (
    OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, UserWarning,
)  # fmt: skip
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned as an EXIF orientation says; itself if that is 1 or not valid."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of a decoded image; 1, upright, if EXIF is damaged or missing."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except EXIF_ERRORS:
        return 1


def exif_of_orientation(orientation: int) -> bytes:
    """EXIF with only an orientation, without the mark ``Exif`` of JPEG files."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes().removeprefix(b"Exif\0\0")
