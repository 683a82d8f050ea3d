"""Whether an image's metadata say when it was taken."""

from __future__ import annotations

from PIL import ExifTags, Image

from hashkit.imaging.orientation import EXIF_ERRORS

__all__ = ["has_capture_time"]


def has_capture_time(image: Image.Image) -> bool:
    """Whether EXIF has the time at which an opened image was taken; False if EXIF is damaged."""
    try:
        inner = image.getexif().get_ifd(ExifTags.IFD.Exif)
        return bool(str(inner.get(ExifTags.Base.DateTimeOriginal, "")).strip("\0 :0"))
    except EXIF_ERRORS:
        return False
