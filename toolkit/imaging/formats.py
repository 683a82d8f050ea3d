"""Which image files are read: recognised by their first bytes, listed by suffix in folders."""

from __future__ import annotations

import functools
import importlib
import io
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from PIL import ImageFile, UnidentifiedImageError

from hashkit.distribution import find_package, install_command
from hashkit.errors import ImageError

__all__ = ["EXTRA_SUFFIXES", "IMAGE_SUFFIXES", "format_of", "open_file", "readable_suffixes"]

_Factory: TypeAlias = Callable[[io.BytesIO, str], ImageFile.ImageFile]

_SUFFIXES: Final = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"),
    "JPEG 2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
    "PNG": (".apng", ".png"),
    "PNM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "QOI": (".qoi",),
    "TIFF": (".tif", ".tiff"),
    "WebP": (".webp",),
}
EXTRA_SUFFIXES: Final = frozenset({".heic", ".heif", ".hif"})
"""Suffixes of images that need the extra ``heic``."""

IMAGE_SUFFIXES: Final = frozenset(suffix for names in _SUFFIXES.values() for suffix in names)
"""Suffixes, in lower case, of the files that count as images when a folder is read."""

# The only readers of Pillow that get a file. Its others are older, and the one for PostScript
# starts another program.
_READERS: Final = {
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "JPEG 2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "PNM": ("PpmImagePlugin", "PpmImageFile"),
    "QOI": ("QoiImagePlugin", "QoiImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
}

_SIGNATURES: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"qoif", "QOI"),
)
_NOT_READ: Final = (
    (re.compile(rb"P[Ff]\s"), "PFM (floating point)"),
    (re.compile(rb"P7\s"), "PAM"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%!PS|\xc5\xd0\xd3\xc6"), "PostScript"),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (re.compile(rb"v/1\x01"), "OpenEXR"),
    (re.compile(rb"#\?(?:RADIANCE|RGBE)\s"), "Radiance HDR"),
    (re.compile(rb"DDS "), "DDS"),
    (re.compile(rb"\0\0[\1\2]\0"), "ICO"),
    (re.compile(rb"\x01\xda[\0\1][\1\2]"), "SGI"),
    (re.compile(rb"SIMPLE  ="), "FITS"),
)
"""First bytes of image formats that are not read."""

_BRANDS: Final = (
    ("AVIF", frozenset({b"avif", b"avis"})),
    (
        "HEIF",
        frozenset(
            {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1"}
        ),
    ),
)
_LONGEST_BRANDS: Final = 256


def format_of(data: bytes) -> str | None:
    """Format of an image file by its first bytes; None if it is unknown.

    ``HEIF`` is known but needs an extra.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PNM"
    if data[4:8] == b"ftyp":
        listed = data[8 : min(int.from_bytes(data[:4], "big"), _LONGEST_BRANDS)]
        brands = {listed[at : at + 4] for at in range(0, len(listed), 4)}
        return next((name for name, known in _BRANDS if brands & known), None)
    return None


def readable_suffixes() -> frozenset[str]:
    """`IMAGE_SUFFIXES`, and `EXTRA_SUFFIXES` if what they need is installed."""
    has_extra = find_package("pillow_heif") is not None
    return IMAGE_SUFFIXES | EXTRA_SUFFIXES if has_extra else IMAGE_SUFFIXES


def open_file(data: bytes, name: str) -> ImageFile.ImageFile:
    """Open an image file with the reader for its first bytes, without decoding it.

    `PIL.Image.open` is not used: its limits can be changed by any other code of the process.

    Raises
    ------
    UnidentifiedImageError
        If it is not an image file of a known format.
    ImageError
        If its format is not read, or needs something that is not installed; ``name`` is that of
        the image.
    Exception
        Anything that Pillow raises for damaged files.
    """
    kind = format_of(data)
    if kind is None:
        raise _not_read(data, name)
    factory = _factory(kind)
    if factory is None:
        needs = (
            f"install them with `{install_command('heic')}`"
            if kind == "HEIF"
            else f"found a Pillow without it; install a build of Pillow with {kind}"
        )
        raise ImageError(
            f"{name}: {kind} images need more than is installed: {needs}", "unsupported"
        )
    return factory(io.BytesIO(data), "")


def _not_read(data: bytes, name: str) -> Exception:
    """The error for a file whose format is not read."""
    for start, kind in _NOT_READ:
        if start.match(data):
            return ImageError(
                f"{name}: {kind} images are not read; save the image as PNG", "unsupported"
            )
    return UnidentifiedImageError()


@functools.cache
def _factory(kind: str) -> _Factory | None:
    """Pillow's class for a format; None if it is not installed."""
    try:
        if kind == "HEIF":
            made: Any = importlib.import_module("pillow_heif").HeifImageFile
            return made  # type: ignore[no-any-return]
        module_name, class_name = _READERS[kind]
        module = importlib.import_module(f"PIL.{module_name}")
    except ImportError:
        return None
    if not getattr(module, "SUPPORTED", True):  # this Pillow was built without the format
        return None
    found: Any = getattr(module, class_name)
    return found  # type: ignore[no-any-return]
