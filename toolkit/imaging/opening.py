"""Opens the bytes of an image file, with all checks that come before decoding."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from hashkit.imaging.coded_boxes import check_coded_boxes
from hashkit.imaging.formats import format_of, open_file
from hashkit.imaging.jpeg import check_jpeg
from hashkit.imaging.png import needed_chunks
from hashkit.imaging.pnm import PnmHeader, read_deep_pnm
from hashkit.imaging.tiff import check_directory, check_tiff

__all__ = ["open_image"]


def open_image(
    data: bytes, name: str, check_size: Callable[[tuple[int, int], str], None]
) -> Image.Image:
    """Open an image file without decoding it, except where Pillow cannot.

    Parameters
    ----------
    data
        The file's bytes.
    name
        Name of the image, for messages.
    check_size
        Called with (width, height) and the name before memory for pixels is taken.

    Raises
    ------
    UnidentifiedImageError
        If it is not an image file of a known format.
    ImageError
        If its format is not available, or ``check_size`` refuses it.
    Exception
        Anything that Pillow raises for damaged files.
    """
    kind = format_of(data)
    deep = PnmHeader.of(data) if kind == "PNM" else None
    if deep is not None:
        check_size(deep.size, name)
        return read_deep_pnm(data, deep)
    if kind == "TIFF":
        check_directory(data)
    image = open_file(needed_chunks(data) if kind == "PNG" else data, name)
    check_size(image.size, name)
    if kind == "JPEG":
        check_jpeg(data)
    elif kind in ("AVIF", "HEIF"):
        check_coded_boxes(data)
    elif kind == "TIFF":
        check_tiff(data, getattr(image, "tag_v2", {}))
    return image
