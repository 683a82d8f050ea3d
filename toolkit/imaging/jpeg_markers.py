"""Markers of JPEG files, each the byte after 0xFF (ITU-T T.81, table B.1)."""

from __future__ import annotations

from typing import Final

__all__ = ["COM", "DHT", "DQT", "DRI", "EOI", "HUFFMAN_FRAMES", "RESTARTS", "SOI", "SOS"]

SOI: Final = 0xD8
EOI: Final = 0xD9
SOS: Final = 0xDA
DQT: Final = 0xDB
DRI: Final = 0xDD
DHT: Final = 0xC4
COM: Final = 0xFE
RESTARTS: Final = range(0xD0, 0xD8)
HUFFMAN_FRAMES: Final = (0xC0, 0xC1, 0xC2)
"""Baseline, extended sequential and progressive, with Huffman coding."""
