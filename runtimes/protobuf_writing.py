"""Writes fields of protocol-buffers messages."""

from __future__ import annotations

__all__ = ["bytes_field", "number_field", "varint"]

_VARINT, _BYTES = 0, 2


def bytes_field(number: int, data: bytes) -> bytes:
    """A field that holds bytes, text or a message."""
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    """A field that holds an integer, 0 or more."""
    return varint(number << 3 | _VARINT) + varint(value)


def varint(value: int) -> bytes:
    """An integer, 0 or more, of 7 bits per byte, least significant first."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
