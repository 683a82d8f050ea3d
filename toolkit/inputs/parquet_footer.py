"""Sizes of a Parquet file's columns, read from its footer without pyarrow.

pyarrow ends the process if the metadata of a column is damaged and is read: its C++ code throws an
exception that nothing catches. If it reads the column itself, the same damage raises an error.

The footer is a Thrift structure in the compact protocol, followed by its length and ``PAR1``:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.inputs.limits import check_limit
from hashkit.inputs.opening import open_file

__all__ = ["ColumnSize", "read_column_sizes"]

_END: Final = struct.Struct("<I4s")
_MAX_DEPTH: Final = 32
_MAX_VARINT_BYTES: Final = 10

# Types of the compact protocol.
_TRUE, _FALSE, _BYTE = 1, 2, 3
_DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 7, 8, 9, 10, 11, 12
_INTEGERS: Final = (4, 5, 6)

# Numbers of fields in parquet.thrift.
_ROW_GROUPS: Final = 4
_COLUMNS: Final = 1
_META_DATA: Final = 3
_PATH: Final = 3
_NUM_VALUES: Final = 5
_UNCOMPRESSED: Final = 6


@dataclasses.dataclass(frozen=True)
class ColumnSize:
    """One column of a row group, as the footer describes it.

    Attributes
    ----------
    name
        The column of the schema that it belongs to: the first part of its path.
    n_values
        Number of values, including nulls.
    n_bytes
        Bytes of its pages when they are decompressed.
    path
        Its whole path, with dots.
    """

    name: str
    n_values: int
    n_bytes: int
    path: str


def read_column_sizes(path: Path) -> list[list[ColumnSize]]:
    """Sizes of the columns of each row group.

    Raises
    ------
    ValueError
        If the file has no such footer, or a damaged one.
    OSError
        If it cannot be read; `hashkit.inputs.limits.TooLargeError` if the footer is too large.
    """
    with open_file(path) as file:
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, n_bytes - _END.size))
        end = file.read(_END.size)
        if len(end) != _END.size or end[4:] != b"PAR1":
            raise ValueError("expected a footer at the end of the file, found none")
        length = _END.unpack(end)[0]
        if length > n_bytes - _END.size:
            raise ValueError("the footer is longer than the file")
        check_limit("json_bytes", length, "the footer", path)
        file.seek(n_bytes - _END.size - length)
        footer = _Compact(file.read(length)).structure(0)
    return [
        [_column_size(column) for column in _structures(group, _COLUMNS)]
        for group in _structures(footer, _ROW_GROUPS)
    ]


def _structures(holder: Mapping[int, Any], field: int) -> list[Mapping[int, Any]]:
    found = holder.get(field, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("the footer has fields of other types than expected")
    return found


def _column_size(column: Mapping[int, Any]) -> ColumnSize:
    metadata = column.get(_META_DATA)
    if not isinstance(metadata, dict):
        raise ValueError("the footer does not describe a column")
    path, n_values, n_bytes = (metadata.get(n) for n in (_PATH, _NUM_VALUES, _UNCOMPRESSED))
    names = path if isinstance(path, list) else []
    is_named = names and all(isinstance(name, bytes) for name in names)
    if not is_named or type(n_values) is not int or type(n_bytes) is not int:
        raise ValueError("the footer does not describe a column")
    texts = [name.decode("utf-8", "replace") for name in names]
    return ColumnSize(texts[0], max(n_values, 0), max(n_bytes, 0), ".".join(texts))


class _Compact:
    """Values of Thrift's compact protocol: structures are dicts by the number of the field."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def structure(self, depth: int) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else _signed(self._varint())
            is_bool = kind in (_TRUE, _FALSE)
            fields[number] = kind == _TRUE if is_bool else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("the footer is nested too deeply")
        if kind in _INTEGERS:
            return _signed(self._varint())
        if kind in (_BYTE, _TRUE, _FALSE):  # bools in a list are bytes
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in (_LIST, _SET):
            return self._list(depth)
        if kind == _MAP:
            return self._map(depth)
        if kind == _STRUCT:
            return self.structure(depth + 1)
        raise ValueError(f"the footer has a value of the unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        size = self._varint() if size == 15 else size
        self._check_room(size)
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _map(self, depth: int) -> None:
        size = self._varint()
        if not size:
            return
        kinds = self._byte()
        self._check_room(size)
        for _ in range(size):
            self._value(kinds >> 4, depth + 1)
            self._value(kinds & 15, depth + 1)

    def _check_room(self, n_values: int) -> None:
        if n_values > len(self._data) - self._at:  # each takes at least a byte
            raise ValueError("the footer is cut off")

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, n_bytes: int) -> bytes:
        part = self._data[self._at : self._at + n_bytes]
        if len(part) != n_bytes:
            raise ValueError("the footer is cut off")
        self._at += n_bytes
        return part

    def _varint(self) -> int:
        value = 0
        for position in range(_MAX_VARINT_BYTES):
            byte = self._byte()
            value |= (byte & 127) << 7 * position
            if byte < 128:
                return value
        raise ValueError("the footer has a number of more than 64 bits")


def _signed(value: int) -> int:
    """The integer of a zigzag code."""
    return (value >> 1) ^ -(value & 1)
