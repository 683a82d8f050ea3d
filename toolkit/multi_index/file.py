"""Reads and writes the file of a multi-index, described in docs/multi-index.md."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import HashkitError, IndexMismatchError
from hashkit.files.writing import written_whole
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import open_file
from hashkit.inputs.schema import dataclass_from
from hashkit.multi_index.header import IndexHeader

__all__ = ["FORMAT_VERSION", "Contents", "changed_arrays", "read_index", "write_index"]

FORMAT_VERSION: Final = 2

_MAGIC: Final = b"\x89hkMIH\r\n"
_START: Final = struct.Struct("<8sIII")  # magic, format version, bytes of the JSON, its CRC-32
_VERSIONED: Final = struct.Struct("<8sI")
_MAX_JSON_BYTES: Final = 1 << 20
_ALIGNMENT: Final = 64
_ARRAYS: Final = ("offsets", "rows", "sketches")


@dataclasses.dataclass(frozen=True)
class _Types:
    """NumPy's names of the arrays' types."""

    offsets: Literal["<u4", "<u8"]
    rows: Literal["<u4", "<i8"]
    sketches: Literal["<u4"]


@dataclasses.dataclass(frozen=True)
class _Checksums:
    """CRC-32 of the arrays."""

    offsets: int
    rows: int
    sketches: int


@dataclasses.dataclass(frozen=True)
class _Fields(IndexHeader):
    """All fields of the JSON."""

    types: _Types
    checksums: _Checksums


@dataclasses.dataclass(frozen=True)
class Contents:
    """The file's contents; the arrays are those of `hashkit.kernels.buckets.Tables`."""

    header: IndexHeader
    offsets: NDArray[np.unsignedinteger[Any]]
    rows: NDArray[np.integer[Any]]
    sketches: NDArray[np.uint32]


def write_index(path: Path, contents: Contents) -> None:
    """Write an index to ``path`` atomically: to another file, flushed, then renamed.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    arrays = {name: _little_endian(getattr(contents, name)) for name in _ARRAYS}
    fields = dataclasses.asdict(contents.header) | {
        "types": {name: array.dtype.str for name, array in arrays.items()},
        "checksums": {name: zlib.crc32(array.data) for name, array in arrays.items()},
    }
    text = json.dumps(fields).encode()
    with written_whole(path) as part, part.open("wb") as file:
        file.write(_START.pack(_MAGIC, FORMAT_VERSION, len(text), zlib.crc32(text)) + text)
        for array in arrays.values():
            file.write(bytes(-file.tell() % _ALIGNMENT))
            file.write(array.data)


def read_index(path: Path) -> Contents:
    """Map a file, and check that it is complete.

    Raises
    ------
    IndexMismatchError
        If the file is missing, damaged or has another version.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[Contents, _Checksums]:
    try:
        with open_file(path) as file:
            fields = _read_fields(file, path)
            return _map(file, fields, path), fields.checksums
    except FileNotFoundError:
        raise IndexMismatchError(
            f"{path}: there is no such index; build it: {_command(path)}"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise IndexMismatchError(f"{path}: cannot be read ({reason})") from None


def changed_arrays(path: Path) -> list[str]:
    """Names of the arrays of an index file that do not match their checksums.

    Raises
    ------
    IndexMismatchError
        As `read_index` does.
    """
    contents, checksums = _read(path)
    return [
        name
        for name in _ARRAYS
        if zlib.crc32(getattr(contents, name).data) != getattr(checksums, name)
    ]


def unfit(path: Path, reason: str) -> IndexMismatchError:
    """The error about an index that cannot be used, with the command that builds it again."""
    return IndexMismatchError(f"{path}: {reason}; build the index again: {_command(path)}")


def _command(path: Path) -> str:
    return f"`hashkit index {path.with_suffix('') if path.suffix == '.mih' else 'BANK'}`"


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _read_fields(file: BinaryIO, path: Path) -> _Fields:
    start = file.read(_START.size)
    if len(start) < _START.size or start[:8] != _MAGIC:
        raise unfit(path, "it is not an index")
    version = _VERSIONED.unpack_from(start)[1]
    if version != FORMAT_VERSION:
        why = (
            ", which does not record the rows it was built from" if version < FORMAT_VERSION else ""
        )
        raise unfit(path, f"expected format version {FORMAT_VERSION}, found {version}{why}")
    _, _, n_bytes, check = _START.unpack(start)
    text = file.read(n_bytes) if n_bytes <= _MAX_JSON_BYTES else b""
    if len(text) != n_bytes or zlib.crc32(text) != check:
        raise unfit(path, "it is damaged: its fields do not match their checksum")
    try:
        value = parse_json(text, "its fields", IndexMismatchError)
        return dataclass_from(
            _Fields, value, name="its fields", error=IndexMismatchError, may_have_more=True
        )
    except HashkitError as error:
        raise unfit(path, f"it is damaged: {error}") from None


def _map(file: BinaryIO, fields: _Fields, path: Path) -> Contents:
    lengths, n_entries = fields.substring_lengths, len(fields.substring_lengths) * fields.n_rows
    counts = (sum((1 << length) + 1 for length in lengths), n_entries, n_entries)
    position, arrays = file.tell(), []
    for name, count in zip(_ARRAYS, counts, strict=True):
        dtype = np.dtype(getattr(fields.types, name))
        position += -position % _ALIGNMENT
        arrays.append((dtype, position, count))
        position += dtype.itemsize * count
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes != position:
        raise unfit(path, f"it is damaged: expected {position} bytes, found {n_bytes}")
    data = np.memmap(file, np.uint8, "r").view(np.ndarray)
    offsets, rows, sketches = (
        data[start : start + dtype.itemsize * count].view(dtype) for dtype, start, count in arrays
    )
    header_fields = {
        field.name: getattr(fields, field.name) for field in dataclasses.fields(IndexHeader)
    }
    return Contents(IndexHeader(**header_fields), offsets, rows, sketches)
