"""Signs that a part of a JPEG file was overwritten, which are found much faster than by decoding.

They are rare in whole files: long runs of repeated bytes, markers in the middle of a scan, and
text. None of them proves anything; a file that has one is worth reading in full.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from hashkit.imaging.jpeg_markers import COM, DHT, EOI, HUFFMAN_FRAMES, SOS
from hashkit.imaging.runs import has_run

__all__ = ["SEGMENTS", "has_signs_of_a_hole"]

_END: Final = bytes([0xFF, EOI])
SEGMENTS: Final = frozenset({*HUFFMAN_FRAMES, DHT, *range(0xDA, 0xF0), COM})
"""Markers of segments that may follow a scan, and those of frames that are checked."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)
"""What ends the data of a scan: neither a stuffed byte nor a restart mark."""

_STEP: Final = 8
_SAMPLES: Final = 48
"""Text is looked for in every eighth byte. In data without any order, 48 of these are free of
control characters once in 4,000 places; the bytes between them decide."""
_SAMPLES_TO_NEXT: Final = 8
"""Number of samples from a place that is not text to the next that is tried: by chance, the first
place may lie before the text."""
_NOT_TEXT: Final = bytes(
    (byte < 0x20 and byte not in b"\t\n\r") or byte in b"\x7f\xc0\xc1" or byte > 0xF4
    for byte in range(256)
)
"""1 for the bytes that do not occur in UTF-8 text."""


def has_signs_of_a_hole(data: bytes, start: int) -> bool:
    """Whether the scans have one of the signs; ``start`` is the marker of the first scan."""
    return (
        has_run(np.frombuffer(data, np.uint8, offset=start))
        or _has_stray_marker(data, start)
        or _has_text(data, start)
    )


def _has_stray_marker(data: bytes, start: int) -> bool:
    """Whether a marker is neither that of a segment nor a restart; data has stuffed bytes."""
    at = start
    while at >= 0:
        mark = data[at : at + 2]
        if mark == _END:
            return False
        if mark[:1] != b"\xff" or (marker := mark[-1]) not in SEGMENTS:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SOS:
            following = _MARKER.search(data, at)
            at = following.start() if following else -1
    return False


def _has_text(data: bytes, start: int) -> bool:
    """Whether a few hundred bytes in a row are UTF-8 text."""
    is_not_text = data[start::_STEP].translate(_NOT_TEXT)
    at = is_not_text.find(bytes(_SAMPLES))
    while at >= 0:
        first = start + at * _STEP
        # A character may begin before the first byte and end after the last.
        part = data[first + 3 : first + (_SAMPLES - 1) * _STEP]
        text = part.decode("utf-8", "ignore").encode()
        if len(part) - len(text) <= 6 and not part.translate(_NOT_TEXT).strip(b"\0"):
            return True
        at = is_not_text.find(bytes(_SAMPLES), at + _SAMPLES_TO_NEXT)
    return False
