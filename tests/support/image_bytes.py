"""Image files written byte by byte, without Pillow."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    rows: Sequence[bytes],
    *,
    depth: int = 8,
    colour_type: int = 2,
    before: Iterable[tuple[bytes, bytes]] = (),
    after: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG; ``rows`` are packed, ``before`` and ``after`` are chunks around the pixels."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), *before, (b"IDAT", pixels), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*one) for one in chunks)


def tiff(
    width: int,
    height: int,
    data: bytes,
    *,
    bits: int | tuple[int, ...] = 8,
    photometric: int = 1,
    order: str = "<",
    tags: dict[int, int | tuple[int, ...]] | None = None,
) -> bytes:
    """An uncompressed TIFF of one strip; ``tags`` are more tags, of 16-bit values."""
    n_channels = len(bits) if isinstance(bits, tuple) else 1
    fields: dict[int, Any] = {
        256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: n_channels,
        278: height, 279: len(data), **(tags or {}),
    }  # fmt: skip
    longs = {256, 257, 273, 278, 279}
    start = 8 + 2 + 12 * len(fields) + 4
    arrays = b""
    places = {}
    for tag, value in fields.items():
        if isinstance(value, tuple) and len(value) > 2:
            places[tag] = start + len(arrays)
            arrays += struct.pack(f"{order}{len(value)}H", *value)
    fields[273] = start + len(arrays)
    entries = b""
    for tag, value in sorted(fields.items()):
        values = value if isinstance(value, tuple) else (value,)
        kind = 4 if tag in longs else 3
        entries += struct.pack(f"{order}HHI", tag, kind, len(values))
        if tag in places:
            entries += struct.pack(f"{order}I", places[tag])
        else:
            packed = struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
            entries += packed.ljust(4, b"\0")
    mark = b"MM\0*" if order == ">" else b"II*\0"
    directory = struct.pack(f"{order}H", len(fields)) + entries + bytes(4)
    return mark + struct.pack(f"{order}I", 8) + directory + arrays + data


def pnm(kind: int, width: int, height: int, top: int, data: bytes) -> bytes:
    return b"P%d\n%d %d\n%d\n" % (kind, width, height, top) + data


def bmp(pixels: np.ndarray) -> bytes:
    """A 24-bit BMP of uint8 [H, W, 3], from the bottom row up."""
    height, width = pixels.shape[:2]
    padding = bytes(-3 * width % 4)
    rows = b"".join(row[:, ::-1].tobytes() + padding for row in pixels[::-1])
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows


def qoi(pixels: np.ndarray) -> bytes:
    """A QOI of uint8 [H, W, 3], every pixel in full."""
    height, width = pixels.shape[:2]
    body = b"".join(b"\xfe" + pixel.tobytes() for pixel in pixels.reshape(-1, 3))
    return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + body + bytes(7) + b"\1"


def exif(orientation: int) -> bytes:
    """EXIF, as in a PNG, with an orientation alone."""
    return b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
