"""Decodes an opened image file completely, or not at all.

Pillow's `ImageFile.LOAD_TRUNCATED_IMAGES` makes it return files that are cut off or damaged as if
they were whole. Any library may set it, for the whole process. It cannot be set for one call, and
setting it here would change what the other library sees. So Pillow decodes with a reader and a
decoder that raise where Pillow would consult the setting.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from PIL import Image, ImageFile, PngImagePlugin, TiffImagePlugin

from hashkit.imaging.libtiff import silence_libtiff

__all__ = ["load_whole"]

_DECODER: Final = "hashkit-whole"
_REPLACED_METHODS: Final[tuple[str, ...]] = ("load_read", "load_prepare")
"""Methods of the image that are replaced while it is decoded."""
_OWN_LOADERS: Final = frozenset({"libtiff"})
"""Decoders that are called without `ImageFile.load` and always raise."""


class _WholeDecoder:
    """A decoder of Pillow that raises an error where the original returns an error code.

    Pillow ignores the code of all parts of an image but the last.
    """

    def __init__(self, mode: str, codec: str, arguments: Any, *extra: Any) -> None:
        self._decoder: Any = Image._getdecoder(mode, codec, arguments, extra)

    @property
    def pulls_fd(self) -> bool:
        return bool(self._decoder.pulls_fd)

    def setimage(self, *arguments: Any) -> None:
        self._decoder.setimage(*arguments)

    def setfd(self, file: Any) -> None:
        self._decoder.setfd(file)

    def decode(self, data: bytes) -> tuple[int, int]:
        n_used, error = self._decoder.decode(data)
        if error < 0:
            raise OSError(f"broken data stream, error {error}")
        return n_used, error

    def cleanup(self) -> None:
        self._decoder.cleanup()


Image.register_decoder(_DECODER, _WholeDecoder)  # type: ignore[arg-type]


def load_whole(image: Image.Image) -> None:
    """Decode an image if it is not decoded yet, whatever Pillow's settings for damaged files are.

    Raises
    ------
    OSError
        If the file is cut off or damaged.
    Exception
        Anything else that Pillow raises for damaged files.
    """
    tiles = list(getattr(image, "tile", ()))
    if not isinstance(image, ImageFile.ImageFile) or not tiles:
        image.load()
        return
    if any(tile.codec_name == "libtiff" for tile in tiles):
        silence_libtiff()
    before = {name: image.__dict__[name] for name in _REPLACED_METHODS if name in image.__dict__}
    image.__dict__["load_read"] = _reader(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image.__dict__["load_prepare"] = _preparer(image)
    if not _OWN_LOADERS.intersection(tile.codec_name for tile in tiles):
        image.tile = [
            tile._replace(codec_name=_DECODER, args=(tile.codec_name, tile.args)) for tile in tiles
        ]
    try:
        image.load()
    except BaseException:
        image.tile = tiles
        raise
    finally:
        # If kept, they would form a reference cycle that keeps the pixels alive.
        for name in _REPLACED_METHODS:
            image.__dict__.pop(name, None)
        image.__dict__.update(before)


def _preparer(image: TiffImagePlugin.TiffImageFile) -> Callable[[], None]:
    """The ``load_prepare`` of an image, without another check against Pillow's limit of pixels."""

    def prepare() -> None:
        if image._im is None:
            image.im = Image.new(image.mode, image._tile_size).im
        ImageFile.ImageFile.load_prepare(image)

    return prepare


def _reader(image: ImageFile.ImageFile) -> Callable[[int], bytes]:
    """The ``load_read`` of an image; raises at the end of the file."""
    # A JPEG's own reader may add an end mark to a truncated file, if Pillow's setting says so.
    load_read = image.load_read if isinstance(image, PngImagePlugin.PngImageFile) else None

    def read(n_bytes: int) -> bytes:
        try:
            if load_read is not None:
                data = load_read(n_bytes)
            else:
                assert image.fp is not None  # noqa: S101 - open until `load` ends
                data = image.fp.read(n_bytes)
        except (IndexError, struct.error):
            data = b""
        if not data:
            raise OSError("image file is truncated")
        return data

    return read
