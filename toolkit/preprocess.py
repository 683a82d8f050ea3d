"""From an image file to the uint8 pixels a model takes; the only code that does it.

Whatever the source, the outcome is defined:

=============================  =========================================================
source                         outcome
=============================  =========================================================
grey, palette, CMYK, YCbCr     converted to RGB
transparent                    laid over white
16-bit grey                    the high byte of each value
animated, multi-page           the first frame
EXIF orientation               applied; EXIF that cannot be read is ignored
floating point, 32-bit         `ImageError`, ``unsupported``
more than `MAX_PIXELS`         `ImageError`, ``too-large``, before any pixel is decoded
cut off                        `ImageError`, ``truncated`` (``broken`` where it cannot be told)
damaged, or not an image       `ImageError`, ``broken``
not there, or not readable     `ImageError`, ``missing``
=============================  =========================================================
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from hashkit.errors import ConfigError, ImageError
from hashkit.manifest import RESIZE_RULES

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "ImageSource", "decode", "decode_usable", "fit", "load"]

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]

MAX_PIXELS: Final = 89_478_485
"""Images of more pixels are refused: decoded, one takes a quarter of a GiB (Pillow's own limit)."""

IMAGE_SUFFIXES: Final = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
)
"""Endings of the files that are taken for images when a folder is read."""

_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_WHITE: Final = (255, 255, 255, 255)


def load(source: ImageSource, size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Pixels of an image as a model takes them.

    Parameters
    ----------
    source
        A path, the bytes of a file, a Pillow image, or uint8 [H, W], [H, W, 1], [H, W, 3] (RGB)
        or [H, W, 4] (RGBA).
    size
        (height, width) in pixels.
    resize
        A rule of `hashkit.manifest.RESIZE_RULES`.

    Returns
    -------
    NDArray
        uint8 [height, width, 3], RGB, contiguous.

    Raises
    ------
    ImageError
        If the image cannot be used; its ``reason`` says which way.
    """
    if isinstance(source, np.ndarray) and source.shape == (*size, 3) and source.dtype == np.uint8:
        return np.ascontiguousarray(source)
    return fit(decode(source), size, resize)


def fit(image: Image.Image, size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Bring a decoded RGB image to ``size`` (height, width): uint8 [height, width, 3]."""
    if resize not in RESIZE_RULES:
        raise ConfigError(f"unknown resize rule {resize!r}; known: {', '.join(RESIZE_RULES)}")
    shape, _, kernel = resize.partition("-")
    height, width = size
    box = (0.0, 0.0, float(image.width), float(image.height))
    if shape == "crop":
        scale = min(image.width / width, image.height / height)
        left = (image.width - width * scale) / 2
        top = (image.height - height * scale) / 2
        # A rounding error beyond the image, which Pillow refuses, is cut off.
        box = (
            max(left, 0.0),
            max(top, 0.0),
            min(left + width * scale, float(image.width)),
            min(top + height * scale, float(image.height)),
        )
    resized = image.resize((width, height), _FILTERS[kernel], box=box)
    return np.array(resized, dtype=np.uint8)


def decode(source: ImageSource) -> Image.Image:
    """RGB image of a source at its own size, upright.

    Raises
    ------
    ImageError
        If the image cannot be used; its ``reason`` says which way.
    """
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source), "the array")
    if isinstance(source, Image.Image):
        with _image_errors("the image"):  # one that Pillow opened may still have to be read
            _check_pixels(source, "the image")
            return _to_rgb(source, "the image")
    if isinstance(source, bytes):
        return _decode_file(io.BytesIO(source), "the image data")
    name = os.fspath(source)
    try:
        data = Path(name).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file", "missing") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be read ({reason})", "missing") from None
    return _decode_file(io.BytesIO(data), name)


def decode_usable(source: ImageSource | None) -> Image.Image | None:
    """What `decode` gives; None if there is no source, or it cannot be used."""
    try:
        return None if source is None else decode(source)
    except ImageError:
        return None


def _decode_file(file: io.BytesIO, name: str) -> Image.Image:
    if not file.getbuffer().nbytes:
        raise ImageError(f"{name}: the file is empty", "truncated")
    with _image_errors(name), Image.open(file) as image:
        _check_pixels(image, name)
        image.load()
        return _to_rgb(image, name)


@contextlib.contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` that names the image."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(
            f"{name}: more pixels than the {MAX_PIXELS:,} allowed", "too-large"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read", "broken") from None
    except Exception as error:  # on damaged data a decoder may raise anything, warnings included
        text = " ".join(str(error).split()) or type(error).__name__
        if "truncated" in text.lower() or isinstance(error, EOFError):
            raise ImageError(f"{name}: the file is cut off ({text})", "truncated") from None
        raise ImageError(f"{name}: the file is damaged ({text})", "broken") from None


def _check_pixels(image: Image.Image, name: str) -> None:
    n_pixels = image.width * image.height
    if n_pixels > MAX_PIXELS:
        raise ImageError(
            f"{name}: {image.width} x {image.height} pixels, more than the {MAX_PIXELS:,} allowed",
            "too-large",
        )
    if not n_pixels:
        raise ImageError(f"{name}: has no pixels", "broken")


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    channels_ok = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not channels_ok or not pixels.size:
        raise ImageError(
            "an image array must be uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], "
            f"not {pixels.dtype} {list(pixels.shape)}",
            "unsupported",
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    _check_pixels(image, "the array")
    return image


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    image = _upright(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            f"{name}: {image.mode} pixels ({'32-bit' if image.mode == 'I' else 'floating point'}) "
            "have no fixed range; save the image with 8 or 16 bits a channel",
            "unsupported",
        )
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            paper = Image.new("RGBA", image.size, _WHITE)
            return Image.alpha_composite(paper, image).convert("RGB")
        return image.convert("RGB")
    except ValueError:
        raise ImageError(
            f"{name}: {image.mode} pixels cannot be converted to RGB; save the image as RGB",
            "unsupported",
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; damaged EXIF leaves pixels that may be whole as they are."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, UserWarning):
        return image
