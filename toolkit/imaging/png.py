"""Keeps the parts of a PNG file that determine its pixels, and checks them.

Metadata may be large, damaged or unpack to megabytes: texts and colour profiles are dropped before
Pillow, whose limits for them are settings of the whole process, sees the file.
Chunks: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", section 5.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

from PIL import ExifTags, Image

from hashkit.imaging.orientation import exif_of_orientation

__all__ = ["needed_chunks", "orientation_chunk"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NAME: Final = re.compile(rb"[A-Za-z]{4}")
_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
_CRITICAL: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_TEXTS: Final = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_HEADER_BYTES: Final = 12
_LONGEST_TEXT: Final = 1 << 20
_WHITE_OF_DEPTH: Final = {2: 85, 4: 17}
"""Factor that scales a grey level of fewer than 8 bits to 8, by bits."""
_GREY: Final = 0
_COLOUR: Final = 2

_XMP_ORIENTATION: Final = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def needed_chunks(data: bytes) -> bytes:
    """Only the chunks of a PNG file that determine its pixels.

    They are the header, the palette, the transparency, the orientation and the first image. A
    transparent grey or colour is converted to the 8 bits to which Pillow decodes.

    Raises
    ------
    EOFError
        If a chunk is cut off.
    OSError
        If a checksum is wrong or the file is damaged in another way.
    """
    kept: list[bytes] = []
    header = b""
    orientation: bytes | None = None
    at = len(_SIGNATURE)
    has_pixels = False
    while at < len(data):
        kind, body, end = _chunk_at(data, at, has_pixels)
        if kind == b"IEND":
            break
        if kind in _NEEDED:
            _check(data, at, end, kind)
            has_pixels |= kind == b"IDAT"
            header = body if kind == b"IHDR" else header
            is_key = kind == b"tRNS"
            kept.append(_chunk(kind, _transparency(body, header)) if is_key else data[at:end])
        elif orientation is None or kind == b"eXIf":
            orientation = _orientation_of(kind, body)
        at = end
    if not has_pixels:
        raise EOFError("image file is truncated")
    kept.insert(1, orientation or b"")
    return b"".join([_SIGNATURE, *kept, _chunk(b"IEND", b"")])


def _chunk_at(data: bytes, at: int, has_pixels: bool) -> tuple[bytes, bytes, int]:
    """Name, contents and end of the chunk at a position."""
    kind = data[at + 4 : at + 8]
    if len(kind) < 4:
        if has_pixels:  # only the end mark is missing
            return b"IEND", b"", len(data)
        raise EOFError("image file is truncated")
    if not _NAME.fullmatch(kind):
        raise OSError("broken PNG file (no chunk where one should begin)")
    if kind[:1].isupper() and kind not in _CRITICAL:
        raise OSError(f"broken PNG file (chunk {kind.decode()} is not known)")
    length = int.from_bytes(data[at : at + 4], "big")
    body = data[at + 8 : at + 8 + length]
    if len(body) < length:
        if has_pixels and kind != b"IDAT":
            return b"IEND", b"", len(data)
        raise EOFError("image file is truncated")
    return kind, body, at + _HEADER_BYTES + length


def _check(data: bytes, at: int, end: int, kind: bytes) -> None:
    """Check a chunk's checksum; one that is cut off at the end of the file is not checked."""
    stored = data[end - 4 : end]
    if len(data) >= end and zlib.crc32(memoryview(data)[at + 4 : end - 4]) != int.from_bytes(
        stored, "big"
    ):
        raise OSError(f"broken PNG file (wrong checksum of {kind.decode()})")


def orientation_chunk(orientation: int) -> bytes:
    """An eXIf chunk that states an orientation."""
    return _chunk(b"eXIf", exif_of_orientation(orientation))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _transparency(body: bytes, header: bytes) -> bytes:
    """The transparent level or colour in the depth that Pillow decodes to.

    Pillow compares it with decoded pixels: with grey of 2 or 4 bits stretched to 8, and with the
    high bytes of 16-bit colour.
    """
    depth, colour_type = header[8:10] if len(header) >= 10 else (8, _COLOUR)
    if colour_type == _GREY and depth in _WHITE_OF_DEPTH and len(body) >= 2:
        level = int.from_bytes(body[:2], "big") & ((1 << depth) - 1)
        return struct.pack(">H", level * _WHITE_OF_DEPTH[depth])
    if colour_type == _COLOUR and depth == 16 and len(body) >= 6:
        return b"".join(b"\0" + body[at : at + 1] for at in (0, 2, 4))
    return body


def _orientation_of(kind: bytes, body: bytes) -> bytes | None:
    """The orientation that a chunk states, as an eXIf chunk; None if it states none.

    Photoshop and ImageMagick write it into text chunks.
    """
    if kind == b"eXIf":
        return _chunk(kind, body)
    if kind not in _TEXTS:
        return None
    keyword, _, rest = body.partition(b"\0")
    if keyword == b"XML:com.adobe.xmp":
        found = _XMP_ORIENTATION.search(_text(kind, rest))
        orientation = 1 if found is None else int(found[1])
    elif keyword == b"Raw profile type exif":
        orientation = _profile_orientation(_text(kind, rest))
    else:
        return None
    if orientation == 1:
        return None
    return orientation_chunk(orientation)


def _profile_orientation(text: bytes) -> int:
    """Orientation in EXIF that is written as lines of hexadecimal digits; 1 if it is damaged."""
    stored = Image.Exif()
    try:
        stored.load(bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii")))
        return int(stored.get(ExifTags.Base.Orientation, 1))
    except Exception:  # for damaged metadata, Pillow may raise anything
        return 1


def _text(kind: bytes, rest: bytes) -> bytes:
    """The text of a chunk after its keyword; empty if it is damaged or very long."""
    is_packed = kind == b"zTXt"
    if is_packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        is_packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]
    if is_packed:
        try:
            return zlib.decompressobj().decompress(rest, _LONGEST_TEXT)
        except zlib.error:
            return b""
    return rest[:_LONGEST_TEXT]
