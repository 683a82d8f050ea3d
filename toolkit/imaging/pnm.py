"""Reads PGM and PPM files of more than 8 bits: the high byte of each value.

Pillow reads such colour one value at a time in Python, and rounds it differently from grey.
Format: the manual pages `pgm` and `ppm` of Netpbm.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PnmHeader", "read_deep_pnm"]

_SPACE: Final = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER: Final = re.compile(
    rb"P([2356])" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,5})\s"
)
_COMMENT: Final = re.compile(rb"#[^\r\n]*")
_BYTE: Final = 255
_WIDEST: Final = 65_535


class PnmHeader:
    """The header of a PGM or PPM file of more than 8 bits."""

    def __init__(self, match: re.Match[bytes]) -> None:
        kind, width, height, self.top = map(int, match.groups())
        self.is_text = kind < 5
        self.n_channels = 3 if kind in (3, 6) else 1
        self.size = width, height
        self.start = match.end()

    @classmethod
    def of(cls, data: bytes) -> PnmHeader | None:
        """The header of a file; None if it is another kind of file, or one of at most 8 bits."""
        match = _HEADER.match(data)
        if match is None or not _BYTE < int(match[4]) <= _WIDEST:
            return None
        return cls(match)


def read_deep_pnm(data: bytes, header: PnmHeader) -> Image.Image:
    """Pixels of a PGM or PPM file of more than 8 bits, as a grey or RGB image of 8.

    Raises
    ------
    EOFError
        If values are missing.
    ValueError
        If a text holds something other than numbers up to the largest value.
    """
    width, height = header.size
    n_values = width * height * header.n_channels
    if header.is_text:
        words = _COMMENT.sub(b" ", data[header.start :]).split(None, n_values)[:n_values]
        if any(not word.isdigit() or len(word) > 5 for word in words):
            raise ValueError("expected numbers separated by spaces")
        values: NDArray[np.uint32] = np.array(words, dtype=np.uint32)
    else:
        n_bytes = min(2 * n_values, len(data) - header.start)
        values = np.frombuffer(data, ">u2", n_bytes // 2, header.start).astype(np.uint32)
    if len(values) < n_values:
        raise EOFError(f"image file is truncated ({len(values)} of {n_values} values)")
    if values.max(initial=0) > header.top:
        raise ValueError(f"expected values up to {header.top}, found {values.max()}")
    shape = (height, width) if header.n_channels == 1 else (height, width, 3)
    return Image.fromarray(_high_bytes(values, header.top).reshape(shape))


def _high_bytes(values: NDArray[np.uint32], top: int) -> NDArray[np.uint8]:
    """Values from 0 to ``top`` scaled to 16 bits, rounded; then the upper 8 of them."""
    return ((values * _WIDEST + top // 2) // top >> 8).astype(np.uint8)  # within 32 bits
