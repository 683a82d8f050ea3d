"""Reads fields of protocol-buffers messages, without their schema and without copying."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

__all__ = ["Message"]

_VARINT, _LONG, _BYTES, _SHORT = 0, 1, 2, 5


class Message:
    """One protocol-buffers message: the bytes ``start`` to ``end`` of a file.

    Raises
    ------
    ValueError
        In every method, if the bytes are not a message or a required field is missing.
    """

    def __init__(self, data: mmap.mmap | bytes, start: int, end: int) -> None:
        self._data, self._start, self._end = data, start, end

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def span(self) -> tuple[int, int]:
        """Positions of its first byte and after its last one in the file."""
        return self._start, self._end

    def message(self, field: int) -> Message:
        """The message in a required field."""
        for message in self.messages(field):
            return message
        raise ValueError(f"no field {field}")

    def messages(self, field: int) -> Iterator[Message]:
        """The messages in a field that may be repeated."""
        for number, kind, start, end in self._fields():
            if (number, kind) == (field, _BYTES):
                yield Message(self._data, start, end)

    def parts(self) -> Iterator[tuple[int, Message]]:
        """(field, message) of each field that may hold a message."""
        for number, kind, start, end in self._fields():
            if kind == _BYTES:
                yield number, Message(self._data, start, end)

    def numbers(self, field: int) -> Iterator[int]:
        """The integers of a field that may be repeated."""
        for number, kind, value, _ in self._fields():
            if (number, kind) == (field, _VARINT):
                yield value

    def text(self, field: int) -> str:
        """The text of a field; empty if it is missing."""
        return next(self.texts(field), "")

    def texts(self, field: int) -> Iterator[str]:
        """The texts of a field that may be repeated."""
        for message in self.messages(field):
            yield self._data[message._start : message._end].decode()

    def content(self, field: int) -> bytes:
        """The bytes of a field, copied, one occurrence after the other; empty if it is missing."""
        found = [self._data[one._start : one._end] for one in self.messages(field)]
        return b"".join(found)

    def number(self, field: int) -> int:
        """The integer of a field; 0 if it is missing."""
        return next(self.numbers(field), 0)

    def has(self, field: int) -> bool:
        """Whether the message has a field."""
        return any(number == field for number, _, _, _ in self._fields())

    def _fields(self) -> Iterator[tuple[int, int, int, int]]:
        """(field, wire type, start, end) of each field; for integers, ``start`` is the value."""
        at = self._start
        while at < self._end:
            key, at = self._varint(at)
            kind = key & 7
            if kind == _VARINT:
                start, end = self._varint(at)
                at = end
            elif kind in (_LONG, _SHORT):
                start, end = at, at + (8 if kind == _LONG else 4)
                at = end
            elif kind == _BYTES:
                size, start = self._varint(at)
                at = end = start + size
            else:
                raise ValueError(f"wire type {kind}")
            if at > self._end:
                raise ValueError("a field ends after its message")
            yield key >> 3, kind, start, end

    def _varint(self, at: int) -> tuple[int, int]:
        """An integer of 7 bits per byte, least significant first, and the position after it."""
        value = 0
        for shift in range(0, 64, 7):
            if at >= self._end:
                break
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise ValueError("an integer does not end")
