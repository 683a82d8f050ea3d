"""Finds holes in AVIF and HEIC files: parts of the coded images that are zeros.

Boxes: ISO/IEC 14496-12 and 23008-12. AV1 and HEVC data have no long runs of zeros: HEVC forbids
three in a row, and AV1 codes what is probable, such as a flat area, in few bits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["check_coded_boxes"]

_HOLE: Final = bytes(512)
"""What a lost disk sector leaves. Blank pictures of 36 million pixels have runs shorter than 32."""

_IMAGE_TYPES: Final = frozenset({b"av01", b"hvc1"})
"""Types of items that are coded images."""

_MOST_TABLE_BYTES: Final = 2**20
"""Largest list of items; files with a larger one are not searched. A thousand take 50 KB."""


def check_coded_boxes(data: bytes) -> None:
    """Check that the coded images of a file have no hole.

    Only their own bytes are searched: other items, such as EXIF, may have zeros. Damaged boxes are
    left to the decoder.

    Raises
    ------
    OSError
        If the file has a hole.
    """
    try:
        places = sorted(_coded_places(data))
    except (struct.error, IndexError):  # a box is truncated
        return
    searched = 0
    for start, end in places:
        if data.find(_HOLE, max(start, searched), end) >= 0:
            raise OSError(f"the image data has a hole: {len(_HOLE)} zeros in a row")
        searched = max(searched, end)  # places may overlap in a crafted file


def _coded_places(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of the parts of coded images."""
    outer = {name: (start, end) for name, start, end in _boxes(data, 0, len(data))}
    start, end = outer.get(b"meta", (0, 0))
    inner = {name: (first, stop) for name, first, stop in _boxes(data, start + 4, end)}
    tables = [inner.get(name, (0, 0)) for name in (b"iinf", b"iloc")]
    if all(0 < stop - first <= _MOST_TABLE_BYTES for first, stop in tables):
        coded = set(_coded_items(data, *tables[0]))
        for item, first, stop in _items(data, *tables[1]):
            if item in coded:
                yield first, stop


def _coded_items(data: bytes, start: int, end: int) -> Iterator[int]:
    """Numbers of the items that are coded images, from the box ``iinf``."""
    count_bytes = 2 if data[start] == 0 else 4
    for name, at, _ in _boxes(data, start + 4 + count_bytes, end):
        layout = {2: ">HH4s", 3: ">IH4s"}.get(data[at])
        if name == b"infe" and layout is not None:
            item, _, kind = struct.unpack_from(layout, data, at + 4)
            if kind in _IMAGE_TYPES:
                yield item


def _items(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Item, start and end of each part of the items that lie in the file, from the box ``iloc``."""
    version = data[start]
    widths, more_widths = struct.unpack_from(">BB", data, start + 4)
    offset_size, length_size, base_size = widths >> 4, widths & 15, more_widths >> 4
    index_size = more_widths & 15 if version else 0
    if not {offset_size, base_size, index_size} <= {0, 4, 8} or length_size not in (4, 8):
        return
    head = struct.Struct({0: ">HH", 1: ">HHH"}.get(version, ">IHH"))
    at = start + (10 if version == 2 else 8)
    while at < end:
        item, *method, _ = head.unpack_from(data, at)
        at += head.size
        base = _number(data, at, base_size)
        (n_parts,) = struct.unpack_from(">H", data, at + base_size)
        at += base_size + 2
        for _ in range(n_parts):
            at += index_size
            first = base + _number(data, at, offset_size)
            length = _number(data, at + offset_size, length_size)
            at += offset_size + length_size
            if not any(method):  # 0: an offset in the file
                yield item, first, min(first + length, len(data))


def _number(data: bytes, at: int, size: int) -> int:
    value: int = struct.unpack_from({4: ">I", 8: ">Q"}[size], data, at)[0] if size else 0
    return value


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the boxes in a part of a file."""
    while at + 8 <= end:
        n_bytes, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if n_bytes == 1:
            n_bytes, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = min(at + n_bytes if n_bytes >= 8 else end, end)
        yield data[at + 4 : at + 8], start, stop
        at = stop
