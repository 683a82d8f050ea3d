"""Finds TIFF files in which part of the compressed data is lost.

libtiff stops at the last pixel of a deflated strip, before the checksum that follows, and accepts
JPEG data as libjpeg does.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import numpy as np

from hashkit.imaging.jpeg import check_jpeg
from hashkit.imaging.runs import has_run

__all__ = ["check_directory", "check_tiff", "tag_numbers"]

# Tags of TIFF Revision 6.0 and its supplement 1.
_COMPRESSION: Final = 259
_STRIPS: Final = (273, 279)
_TILES: Final = (324, 325)
_DEFLATE: Final = (8, 32_946)
_JPEG: Final = 7
_JPEG_TABLES: Final = 347
_BLOCK: Final = 1 << 20
_NEEDED: Final = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339}
)
"""Tags without which the pixels cannot be read."""
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value by the number of its type; tags in `_NEEDED` have no other types."""


def check_directory(data: bytes) -> None:
    """Check that a TIFF file has its first directory, which many programs write after the pixels.

    Pillow ignores values that are cut off, and then reports pixels of an unknown kind.

    Raises
    ------
    EOFError
        If the directory, or a value that the pixels depend on, is cut off.
    """
    order = "<" if data[:2] == b"II" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    number, count = ("Q", "Q") if is_big else ("I", "H")
    width = struct.calcsize(number)
    try:
        (at,) = struct.unpack_from(order + number, data, 8 if is_big else 4)
        (n_entries,) = struct.unpack_from(order + count, data, at)
        at += struct.calcsize(count)
        for _ in range(n_entries):
            tag, kind, n_values = struct.unpack_from("".join((order, "HH", number)), data, at)
            (place,) = struct.unpack_from(order + number, data, at + 4 + width)
            at += 4 + 2 * width
            n_bytes = _TYPE_BYTES.get(kind, 0) * n_values
            if tag in _NEEDED and n_bytes > width and place + n_bytes > len(data):
                raise EOFError("its directory is not complete")
    except struct.error:
        raise EOFError("its directory is not complete") from None


def check_tiff(data: bytes, tags: Any) -> None:
    """Check the strips of a TIFF file in JPEG, and deflated ones if it has a long run of bytes.

    Parameters
    ----------
    data
        The file.
    tags
        Its tags by number, as Pillow reads them.

    Raises
    ------
    OSError
        If a strip or tile does not match its checksum, or is a JPEG file with a hole.
    """
    compression = tags.get(_COMPRESSION)
    is_deflated = compression in _DEFLATE and has_run(np.frombuffer(data, np.uint8))
    if not is_deflated and compression != _JPEG:
        return
    tables = tags.get(_JPEG_TABLES, b"")
    for start, size in zip(*(_strips_or_tiles(tags, place) for place in (0, 1)), strict=False):
        strip = data[start : start + size]
        if compression == _JPEG:
            check_jpeg(tables[:-2] + strip[2:] if tables else strip)
        elif not _is_whole(strip):
            raise OSError("the image data has a hole: a strip does not match its checksum")


def _strips_or_tiles(tags: Any, place: int) -> tuple[int, ...]:
    """Starts of the strips or tiles, or their sizes."""
    return tag_numbers(tags, _STRIPS[place]) or tag_numbers(tags, _TILES[place])


def tag_numbers(tags: Any, tag: int) -> tuple[int, ...]:
    """Value of a tag of a TIFF file, as Pillow reads them; empty if there is none."""
    value = tags.get(tag, ())
    return tuple(value) if isinstance(value, tuple) else (int(value),)


def _is_whole(packed: bytes) -> bool:
    unpacker = zlib.decompressobj()
    rest = packed
    try:
        while not unpacker.eof:
            if not unpacker.decompress(rest, _BLOCK) and not unpacker.eof:
                return False
            rest = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return True
