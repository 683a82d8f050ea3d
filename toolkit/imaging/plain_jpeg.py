"""Decodes small, plain JPEG files without Pillow's reader, by the same decoder.

For a file of a few hundred pixels, Pillow's reader in Python takes several times as long as its
decoder. It does nothing for files without metadata: it finds the size and hands all bytes to the
decoder, in pieces of 64 KiB. This module does the same for files of one piece. It leaves every file
that is unusual or damaged to the reader, which then says what is wrong.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Final, Self

from PIL import Image

from hashkit.imaging.jpeg_markers import COM, DHT, DQT, DRI, HUFFMAN_FRAMES, SOS

__all__ = ["PlainJpeg"]

_MOST_BYTES: Final = 1 << 16
"""Bytes that Pillow gives to its decoder at once."""

_START: Final = b"\xff\xd8\xff"
_JFIF: Final = 0xE0
_SKIPPED: Final = frozenset({DHT, DRI, COM})
"""Segments before the first scan that Pillow's reader skips, or keeps without reading them."""
_MODES: Final = {1: "L", 3: "RGB"}
_FRAME: Final = struct.Struct(">BHHB")


@dataclasses.dataclass(frozen=True)
class PlainJpeg:
    """A JPEG file with no metadata but its size and mode.

    Attributes
    ----------
    size
        (width, height), pixels.
    mode
        ``L`` or ``RGB``.
    """

    size: tuple[int, int]
    mode: str

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """What the headers of a file say; None if it is large, not plain, or not a JPEG file."""
        if len(data) > _MOST_BYTES or not data.startswith(_START):
            return None
        found: Self | None = None
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF:
            marker, n_bytes = data[at + 1], data[at + 2] << 8 | data[at + 3]
            if marker == SOS:
                return found
            if marker in HUFFMAN_FRAMES:
                if found is not None:
                    return None
                found = cls._of_frame(data[at + 4 : at + 2 + n_bytes])
                is_plain = found is not None
            elif marker == DQT:
                is_plain = _is_quantiser(data, at + 4, at + 2 + n_bytes)
            elif marker == _JFIF:
                is_plain = n_bytes == 16 and data.startswith(b"JFIF\0", at + 4)
            else:
                is_plain = marker in _SKIPPED and n_bytes >= 2
            if not is_plain:
                return None
            at += 2 + n_bytes
        return None

    @classmethod
    def _of_frame(cls, body: bytes) -> Self | None:
        if len(body) < _FRAME.size:
            return None
        precision, height, width, n_components = _FRAME.unpack_from(body)
        mode = _MODES.get(n_components)
        if mode is None or precision != 8 or len(body) != _FRAME.size + 3 * n_components:
            return None
        return cls((width, height), mode)

    def decode(self, data: bytes) -> Image.Image | None:
        """The pixels of the file; None if it is cut off or damaged."""
        image = Image.new(self.mode, self.size, None)
        decoder = Image._getdecoder(self.mode, "jpeg", (self.mode, ""))
        try:
            decoder.setimage(image.im, (0, 0, *self.size))
            n_used, error = decoder.decode(data)
        finally:
            decoder.cleanup()
        is_whole = n_used < 0 and error >= 0
        return image if is_whole else None


def _is_quantiser(data: bytes, start: int, stop: int) -> bool:
    """Whether a segment consists of whole tables of 8 or 16 bits."""
    at = start
    while at < min(stop, len(data)):
        at += 1 + 64 * (1 if data[at] < 16 else 2)
    return at == stop
