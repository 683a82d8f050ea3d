"""Loads an image as the uint8 pixels that a model takes; no other code does this.

The result is defined for every source; docs/image-files.md has the whole table:

=============================  =========================================================
source                         result
=============================  =========================================================
grey, palette, CMYK, YCbCr     converted to RGB
transparent                    composited over white
more than 8 bits per value     the 8 upper bits of each value
animated, multi-page           the first frame
orientation in metadata        applied; metadata that cannot be read is ignored
floating point, 32-bit         `ImageError`, ``unsupported``
JPEG, by a ``reduced`` rule    decoded smaller (`hashkit.imaging.jpeg_reduction`)
more than `MAX_PIXELS`         `ImageError`, ``too-large``, before any pixel is decoded
truncated                      `ImageError`, ``truncated`` (``broken`` if that is not detected)
damaged, or not an image       `ImageError`, ``broken``
missing or not readable        `ImageError`, ``missing``
=============================  =========================================================

Pillow's process-wide settings, such as those for damaged files, do not affect the result, and are
not changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hashkit.errors import ConfigError, ImageError
from hashkit.imaging.colour import to_rgb
from hashkit.imaging.content import FileContent, read_image_file
from hashkit.imaging.formats import IMAGE_SUFFIXES
from hashkit.imaging.jpeg import check_jpeg
from hashkit.imaging.jpeg_reduction import Box, reduce_jpeg, reduction, region
from hashkit.imaging.loading import load_whole
from hashkit.imaging.opening import open_image
from hashkit.imaging.orientation import orientation_of, upright
from hashkit.imaging.plain_jpeg import PlainJpeg
from hashkit.inputs.limits import Limits, TooLargeError, check_limit
from hashkit.inputs.masks import unmasked
from hashkit.inputs.sizes import checked_input_size
from hashkit.manifest import REDUCED, RESIZE_RULES
from hashkit.messages.foreign_errors import foreign_message

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "ImageSource",
    "decode",
    "decode_usable",
    "fit",
    "load",
    "resampler",
    "shrunk",
]

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | FileContent | Image.Image | NDArray[np.uint8]
)

MAX_PIXELS: Final = Limits().image_pixels
"""Images with more pixels are refused, unless `hashkit.set_limits` raises the limit: decoded, they
take over 0.25 GiB. It is Pillow's limit."""

_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_REACHES: Final = {Image.Resampling.BILINEAR: 1, Image.Resampling.BICUBIC: 2}
"""Radius of each filter, in pixels of the larger of the two images."""


def resampler() -> str:
    """Library and version that resizes images, for example ``Pillow 13.0.0``."""
    return f"Pillow {PIL.__version__}"


def load(source: ImageSource, size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Load an image and resize it to a model's input size.

    Parameters
    ----------
    source
        A path, the bytes of a file, a file that was read, a Pillow image, or uint8 [H, W],
        [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA).
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
        If the image cannot be used; its ``reason`` says why.
    ConfigError
        If the rule is unknown, or the size out of range.
    """
    if isinstance(source, np.ndarray):
        source = _unmasked(source)
    if isinstance(source, np.ndarray) and source.shape == (*size, 3) and source.dtype == np.uint8:
        return np.ascontiguousarray(source)
    size = checked_input_size(*size, ConfigError)
    rule = _parsed(resize)
    image, box = _decoded(source, size if rule.is_reduced else None)
    return _resampled(image, box, size, rule)


def fit(image: Image.Image, size: tuple[int, int], resize: str) -> NDArray[np.uint8]:
    """Resize a decoded RGB image to ``size`` (height, width): uint8 [height, width, 3].

    Raises
    ------
    ConfigError
        If the rule is unknown, or the size out of range.
    """
    size = checked_input_size(*size, ConfigError)
    return _resampled(image, _whole(image), size, _parsed(resize))


@dataclasses.dataclass(frozen=True)
class _Rule:
    """A parsed resize rule."""

    is_crop: bool
    kernel: Image.Resampling
    is_reduced: bool


@functools.cache
def _parsed(resize: str) -> _Rule:
    if resize not in RESIZE_RULES:
        raise ConfigError(f"unknown resize rule {resize!r}; known: {', '.join(RESIZE_RULES)}")
    shape, _, kernel = resize.removesuffix(REDUCED).partition("-")
    return _Rule(shape == "crop", _FILTERS[kernel], resize.endswith(REDUCED))


def _whole(image: Image.Image) -> Box:
    return 0.0, 0.0, float(image.width), float(image.height)


def _resampled(
    image: Image.Image, box: Box, size: tuple[int, int], rule: _Rule
) -> NDArray[np.uint8]:
    """The part of the image inside ``box``, resized to ``size`` (height, width) by a rule."""
    height, width = size
    if image.size == (width, height) and box == _whole(image):
        return np.array(image, dtype=np.uint8)
    if rule.is_crop:
        box = _centred(box, size)
    return np.array(_resized(image, box, size, rule.kernel), dtype=np.uint8)


def _resized(
    image: Image.Image, box: Box, size: tuple[int, int], kernel: Image.Resampling
) -> Image.Image:
    """The part of an image inside ``box``, resampled in an order that no version of Pillow changes.

    Pillow resamples each axis on its own, with 8-bit values in between, so the order decides the
    last bit. It changed in version 13, which begins with the columns of tall images. That order is
    kept here with every version: a call that changes one axis has one pass.
    """
    left, top, right, bottom = box
    height, width = size
    shorter = image.height - height
    if shorter > 0 and shorter > 2 * (image.width - width):
        down = _one_pass(image, (image.width, height), (0, top, image.width, bottom), kernel)
        return _one_pass(down, (width, height), (left, 0, right, height), kernel)
    # Leave out rows below those that the second pass reads, but none above: that would shift the
    # numbers from which Pillow computes weights, and round them differently.
    reach = _REACHES[kernel] * max((bottom - top) / height, 1.0)
    n_rows = min(image.height, int(bottom + reach) + 2)
    if n_rows < image.height:
        image = image.crop((0, 0, image.width, n_rows))
    across = _one_pass(image, (width, n_rows), (left, 0, right, n_rows), kernel)
    return _one_pass(across, (width, height), (0, top, width, bottom), kernel)


def _one_pass(
    image: Image.Image, size: tuple[int, int], box: Box, kernel: Image.Resampling
) -> Image.Image:
    """An image resampled along one axis, to ``size`` (width, height); itself if nothing changes."""
    if size == image.size and box == _whole(image):
        return image
    return image.resize(size, kernel, box=box)


def _centred(box: Box, size: tuple[int, int]) -> Box:
    """The largest centred part of a box with the aspect ratio of ``size`` (height, width)."""
    left, top, right, bottom = box
    height, width = size
    scale = min((right - left) / width, (bottom - top) / height)
    inner_left = left + (right - left - width * scale) / 2
    inner_top = top + (bottom - top - height * scale) / 2
    # Rounding may put a side outside the box, which Pillow refuses.
    return (
        max(inner_left, left),
        max(inner_top, top),
        min(inner_left + width * scale, right),
        min(inner_top + height * scale, bottom),
    )


def decode(source: ImageSource) -> Image.Image:
    """Decode a source to an upright RGB image at its full size.

    Raises
    ------
    ImageError
        If the image cannot be used; its ``reason`` says why.
    """
    return _decoded(source, None)[0]


def shrunk(source: ImageSource, longest_side: int) -> Image.Image:
    """Decode a source for display: upright, RGB, without metadata, no side above a length.

    Large JPEG files are decoded at a reduced size, so the pixels are not those that models take.

    Raises
    ------
    ImageError
        If the image cannot be used; its ``reason`` says why.
    """
    # The border of a reduced image may include part of a pixel too much, which is not visible.
    image, _ = _decoded(source, (longest_side // 2, longest_side // 2))
    image.thumbnail((longest_side, longest_side))
    image.info = {}
    return image


def _decoded(source: ImageSource, reduced_for: tuple[int, int] | None) -> tuple[Image.Image, Box]:
    """Upright RGB image of a source, and the part of it that belongs to the picture.

    ``reduced_for`` is the (height, width) for which large JPEG files are decoded at a smaller size;
    None for the full size. Decoded images and arrays are never reduced.
    """
    if isinstance(source, np.ndarray):
        image = _to_rgb(_from_array(_unmasked(source)), "the array")
    elif isinstance(source, Image.Image):
        with _image_errors("the image"):  # Pillow may not have loaded it yet
            _check_pixels(source.size, "the image")
            image = _to_rgb(source, "the image")
        if image is source:
            image = source.copy()
    elif isinstance(source, bytes):
        return _decode_file(source, "the image data", reduced_for)
    else:
        content = source if isinstance(source, FileContent) else read_image_file(source)
        return _decode_file(content.data, content.name, reduced_for)
    return image, _whole(image)


def _unmasked(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = unmasked(
        array, "the array", lambda text: ImageError(text, "unsupported")
    )
    return pixels


def decode_usable(source: ImageSource | None) -> Image.Image | None:
    """The result of `decode`; None if there is no source, or it cannot be used."""
    try:
        return None if source is None else decode(source)
    except ImageError:
        return None


def _decode_file(
    data: bytes, name: str, reduced_for: tuple[int, int] | None
) -> tuple[Image.Image, Box]:
    if not data:
        raise ImageError(f"{name}: the file is empty", "truncated")
    plain = _plain_jpeg(data, name, reduced_for)
    if plain is not None:
        return plain, _whole(plain)
    with _image_errors(name), open_image(data, name, _check_pixels) as stored:
        beyond = (0.0, 0.0) if reduced_for is None else reduce_jpeg(stored, reduced_for)
        image = _to_rgb(stored, name)
        return image, region(image, orientation_of(stored), beyond)


def _plain_jpeg(data: bytes, name: str, reduced_for: tuple[int, int] | None) -> Image.Image | None:
    """RGB image of a small, plain JPEG file; None for all others, and for damaged ones."""
    plain = PlainJpeg.of(data)
    if plain is None:
        return None
    width, height = plain.size
    if reduced_for is not None and reduction((height, width), reduced_for) != 1:
        return None
    _check_pixels(plain.size, name)
    with _image_errors(name):
        check_jpeg(data)
        image = plain.decode(data)
        return None if image is None else to_rgb(image, name)


@contextlib.contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Convert any exception of a decoder into an `ImageError` that names the image."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Sizes were checked; for WebP and TIFF, Pillow checks again, by its own limit.
        raise ImageError(
            f"{name}: more pixels than the {Image.MAX_IMAGE_PIXELS} that "
            "PIL.Image.MAX_IMAGE_PIXELS allows; other code of this process lowered it: raise it",
            "too-large",
        ) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not an image that can be read", "broken") from None
    except Exception as error:  # for damaged data, a decoder may raise anything, even warnings
        text = foreign_message(error)
        if "unknown pixel mode" in text:
            raise ImageError(
                f"{name}: pixels of a kind that is not read; save the image as 8-bit RGB",
                "unsupported",
            ) from None
        is_cut = any(words in text.lower() for words in ("truncated", "not enough image data"))
        if is_cut or isinstance(error, EOFError):
            raise ImageError(f"{name}: the file is cut off ({text})", "truncated") from None
        raise ImageError(f"{name}: the file is damaged ({text})", "broken") from None


def _check_pixels(size: tuple[int, int], name: str) -> None:
    width, height = size
    try:
        check_limit("image_pixels", width * height, f"the image of {width} x {height}", name)
    except TooLargeError as error:
        raise ImageError(f"{name}: {error.strerror}", "too-large") from None
    if not width * height:
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
    _check_pixels(image.size, "the array")
    return image


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    load_whole(image)
    return upright(to_rgb(image, name), orientation_of(image))
