"""Finds holes in AVIF and HEIC files: parts of the coded images that are zeros.

Boxes: ISO/IEC 14496-12 and 23008-12. Codes of AV1 and HEVC have no long runs of zeros: HEVC forbids
three in a row, and AV1 codes what is probable, such as a flat area, in few bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["check_coded_boxes"]

_HOLE: Final = bytes(512)
"""What a lost sector of a disk leaves. Blank pictures of 36 million pixels have runs below 32."""
_ITEM: Final = re.compile(rb"infe\x02.{3}.{2}.{2}(.{4})", re.DOTALL)
"""An item of a file, and its type."""
_CODED: Final = frozenset({b"av01", b"hvc1", b"grid"})
"""Items that are coded images, and the one that puts them together."""


def check_coded_boxes(data: bytes) -> None:
    """Check that the coded images of a file have no hole.

    A file with other items, such as EXIF, is not checked: they may have zeros, and lie among them.

    Raises
    ------
    OSError
        If the file has a hole.
    """
    boxes = list(_boxes(data))
    kinds = {
        kind
        for name, start, end in boxes
        if name == b"meta"
        for kind in _ITEM.findall(data, start, end)
    }
    if not kinds or kinds - _CODED:
        return
    for name, start, end in boxes:
        if name == b"mdat" and data.find(_HOLE, start, end) >= 0:
            raise OSError(f"the image data has a hole: {len(_HOLE)} zeros in a row")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of the outer boxes."""
    at = 0
    while at + 8 <= len(data):
        n_bytes = int.from_bytes(data[at : at + 4], "big")
        if n_bytes == 1:
            n_bytes = int.from_bytes(data[at + 8 : at + 16], "big")
        end = at + n_bytes if n_bytes >= 8 else len(data)
        yield data[at + 4 : at + 8], at + 8, min(end, len(data))
        at = end
