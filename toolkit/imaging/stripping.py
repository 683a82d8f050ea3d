"""Image files without metadata: the same pixels, but not where, when and by whom they were taken.

Only what determines how the picture looks is kept: pixels, colour profile, transparency, animation,
and the orientation, which is written again. What follows the end of the picture is left out too,
such as the video that some phones append.

Formats: ITU-T T.81, annex B; W3C, "Portable Network Graphics (PNG) Specification (Third Edition)",
section 5; CompuServe, "GIF89a Specification"; RFC 9649 for WebP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from hashkit.imaging.formats import format_of, open_file
from hashkit.imaging.jpeg_markers import EOI, RESTARTS, SOI, SOS
from hashkit.imaging.orientation import exif_of_orientation, orientation_of
from hashkit.imaging.png import needed_chunks, orientation_chunk

__all__ = ["without_metadata"]

_START: Final = bytes([0xFF, SOI])
_BARE_MARKERS: Final = frozenset({0x01, *RESTARTS})
"""Markers of JPEG without a segment."""
_CODING: Final = frozenset({*range(0xC0, 0xD0), *range(EOI, 0xDE)})
_PROFILE: Final = b"ICC_PROFILE\0"
_ADOBE: Final = b"Adobe"
_JFIF: Final = b"JFIF\0"
_JFIF_BYTES: Final = 12
"""Bytes before the thumbnail's size; the thumbnail is left out."""
_END_OF_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)

_PNG_BYTES: Final = 8
_CHUNKS: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP mDCV cLLI sBIT bKGD pHYs acTL fcTL "
    b"fdAT".split()
)

_GIF_BYTES: Final = 13
_EXTENSION: Final = 0x21
_IMAGE: Final = 0x2C
_TRAILER: Final = 0x3B
_CONTROL: Final = 0xF9
_APPLICATION: Final = 0xFF
_APPLICATIONS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")

_RIFF_BYTES: Final = 12
_WEBP_CHUNKS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH"})
_HAS_EXIF: Final = 0x08
_HAS_XMP: Final = 0x04


def without_metadata(data: bytes) -> bytes | None:
    """A JPEG, PNG, GIF or WebP file without metadata; None for another format or a damaged file.

    The orientation that `hashkit.imaging` finds is kept.
    """
    kind = format_of(data) or ""
    if kind not in _STRIPPED:
        return None
    try:
        opened = open_file(needed_chunks(data) if kind == "PNG" else data, "")
        return b"".join(_STRIPPED[kind](data, orientation_of(opened)))
    except Exception:  # for damaged files, Pillow may raise anything
        return None


def _jpeg(data: bytes, orientation: int) -> Iterator[bytes]:
    yield _START
    exif = b"" if orientation == 1 else b"Exif\0\0" + exif_of_orientation(orientation)
    for marker, start, end in _segments(data):
        body = data[start + 4 : end]
        is_jfif = marker == 0xE0 and body.startswith(_JFIF) and len(body) >= _JFIF_BYTES + 2
        if exif and not is_jfif:  # JFIF comes first
            yield _segment(0xE1, exif)
            exif = b""
        if is_jfif:
            yield _segment(marker, body[:_JFIF_BYTES] + bytes(2))
        elif _is_kept(marker, body):
            yield data[start:end]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment; that of a scan ends with its data."""
    start, marker = len(_START), 0
    while marker != EOI:
        if data[start] != 0xFF:
            raise ValueError
        marker = data[start + 1]
        if marker == 0xFF:  # fill
            start += 1
            continue
        end = start + 2
        if marker != EOI and marker not in _BARE_MARKERS:
            end += int.from_bytes(data[end : end + 2], "big")
        if marker == SOS:
            found = _END_OF_SCAN.search(data, end)
            if found is None:
                raise ValueError
            end = found.start()
        if marker not in _BARE_MARKERS:
            yield marker, start, end
        start = end


def _is_kept(marker: int, body: bytes) -> bool:
    if marker == 0xE2:
        return body.startswith(_PROFILE)
    return marker in _CODING or (marker == 0xEE and body.startswith(_ADOBE))


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


def _png(data: bytes, orientation: int) -> Iterator[bytes]:
    yield data[:_PNG_BYTES]
    at, kind = _PNG_BYTES, b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data):
            raise ValueError
        if kind in _CHUNKS:
            yield data[at:end]
        if kind == b"IHDR" and orientation != 1:
            yield orientation_chunk(orientation)
        at = end


def _gif(data: bytes, _orientation: int) -> Iterator[bytes]:
    at = _GIF_BYTES + _palette_bytes(data[10])
    yield data[:at]
    while data[at] != _TRAILER:
        if data[at] == _EXTENSION:
            end = _after_blocks(data, at + 2)
            is_known = data[at + 3 : at + 14] in _APPLICATIONS
            is_kept = data[at + 1] == _CONTROL or (data[at + 1] == _APPLICATION and is_known)
        elif data[at] == _IMAGE:
            end = _after_blocks(data, at + 11 + _palette_bytes(data[at + 9]))
            is_kept = True
        else:
            raise ValueError
        if is_kept:
            yield data[at:end]
        at = end
    yield data[at : at + 1]


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _webp(data: bytes, orientation: int) -> Iterator[bytes]:
    exif = b"" if orientation == 1 else exif_of_orientation(orientation)
    stop = 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data):
        raise ValueError
    kept, at = [b"WEBP"], _RIFF_BYTES
    while at + 8 <= stop:
        kind, n_bytes = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + n_bytes + n_bytes % 2
        if at + 8 + n_bytes > stop:
            raise ValueError
        if kind == b"VP8X":
            flags = data[at + 8] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if exif else 0)
            kept.append(data[at : at + 8] + bytes((flags,)) + data[at + 9 : end])
        elif kind in _WEBP_CHUNKS:
            kept.append(data[at:end])
        at = end
    if exif:
        kept.append(b"EXIF" + len(exif).to_bytes(4, "little") + exif + bytes(len(exif) % 2))
    body = b"".join(kept)
    yield b"RIFF" + len(body).to_bytes(4, "little") + body


_STRIPPED: Final[Mapping[str, Callable[[bytes, int], Iterator[bytes]]]] = {
    "GIF": _gif,
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
}
