"""Reads and writes the file of a multi-index, described in docs/multi-index.md."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.errors import IndexMismatchError
from hashkit.files import written_whole

__all__ = ["FORMAT_VERSION", "Contents", "fingerprint", "read_index", "write_index"]

FORMAT_VERSION: Final = 1

_MAGIC: Final = b"\x89hkMIH\r\n"
_START: Final = struct.Struct("<8sII")  # magic, format version, bytes of the JSON that follows
_ALIGNMENT: Final = 64
_FINGERPRINT_ROWS: Final = 256
_ARRAYS: Final = ("offsets", "rows", "sketches")


@dataclasses.dataclass(frozen=True)
class Contents:
    """The file's contents; the arrays are those of `hashkit.kernels.buckets.Tables`."""

    n_bits: int
    substring_lengths: tuple[int, ...]
    crowding: tuple[float, ...]
    sample_costs: Mapping[int, tuple[int, ...]]
    fingerprint: str
    offsets: NDArray[np.unsignedinteger[Any]]
    rows: NDArray[np.integer[Any]]
    sketches: NDArray[np.uint32]


def fingerprint(codes: NDArray[np.uint8], n_bits: int) -> str:
    """Hexadecimal SHA-256 of the numbers of bits and rows, and of rows spread over the database."""
    n_rows = len(codes)
    hasher = hashlib.sha256(struct.pack("<QQ", n_bits, n_rows))
    for sample in range(min(_FINGERPRINT_ROWS, n_rows)):
        hasher.update(codes[sample * n_rows // min(_FINGERPRINT_ROWS, n_rows)].tobytes())
    if n_rows:
        hasher.update(codes[-1].tobytes())
    return hasher.hexdigest()


def write_index(path: Path, contents: Contents) -> None:
    """Write an index to ``path`` atomically: to another file, flushed, then renamed.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with written_whole(path) as part, part.open("wb") as file:
        _write(file, contents)


def _write(file: BinaryIO, contents: Contents) -> None:
    fields: dict[str, Any] = {
        "n_bits": contents.n_bits,
        "n_rows": len(contents.rows) // len(contents.substring_lengths),
        "substring_lengths": contents.substring_lengths,
        "crowding": contents.crowding,
        "sample_costs": {str(top_k): costs for top_k, costs in contents.sample_costs.items()},
        "fingerprint": contents.fingerprint,
        "types": {name: getattr(contents, name).dtype.newbyteorder("<").str for name in _ARRAYS},
    }
    text = json.dumps(fields).encode()
    file.write(_START.pack(_MAGIC, FORMAT_VERSION, len(text)) + text)
    for name in _ARRAYS:
        array = getattr(contents, name)
        file.write(bytes(-file.tell() % _ALIGNMENT))
        file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)


def read_index(path: Path, codes: NDArray[np.uint8]) -> Contents:
    """Map a file, and check that it is complete and was built from ``codes``, uint8 [n, size].

    Raises
    ------
    IndexMismatchError
        If the file is missing, damaged, of another version or built from other codes.
    """
    try:
        with path.open("rb") as file:
            fields = _read_header(file, path)
            _check_codes(fields, codes, path)
            return _map(file, fields, path)
    except FileNotFoundError:
        raise IndexMismatchError(f"{path}: there is no such index; build it") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise IndexMismatchError(f"{path}: cannot be read ({reason})") from None
    except (KeyError, TypeError, ValueError):
        raise _unfit(path, "it is damaged") from None


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    start = file.read(_START.size)
    if len(start) < _START.size or start[:8] != _MAGIC:
        raise _unfit(path, "it is not an index")
    _, version, n_bytes = _START.unpack(start)
    if version != FORMAT_VERSION:
        raise _unfit(path, f"expected format version {FORMAT_VERSION}, found {version}")
    fields: dict[str, Any] = json.loads(file.read(n_bytes))
    return fields


def _check_codes(fields: Mapping[str, Any], codes: NDArray[np.uint8], path: Path) -> None:
    n_bits, n_rows = fields["n_bits"], fields["n_rows"]
    if codes.ndim != 2 or code_size(n_bits) != codes.shape[1]:
        raise _unfit(path, f"it was built for codes of {n_bits} bits, not for these")
    if n_rows != len(codes):
        raise _unfit(path, f"it was built for {n_rows} codes, but there are {len(codes)}")
    if fields["fingerprint"] != fingerprint(codes, n_bits):
        raise _unfit(path, "it was built for other codes")


def _map(file: BinaryIO, fields: Mapping[str, Any], path: Path) -> Contents:
    lengths = tuple(int(length) for length in fields["substring_lengths"])
    n_entries = len(lengths) * fields["n_rows"]
    counts = (sum((1 << length) + 1 for length in lengths), n_entries, n_entries)
    if sum(lengths) != fields["n_bits"] or min(lengths) < 1:
        raise ValueError("the substrings do not add up to the code")
    position, arrays = file.tell(), []
    for name, count in zip(_ARRAYS, counts, strict=True):
        dtype = np.dtype(fields["types"][name])
        position += -position % _ALIGNMENT
        arrays.append((dtype, position, count))
        position += dtype.itemsize * count
    n_bytes = os.fstat(file.fileno()).st_size
    if n_bytes != position:
        raise _unfit(path, f"it is damaged: expected {position} bytes, found {n_bytes}")
    data = np.memmap(file, np.uint8, "r").view(np.ndarray)
    offsets, rows, sketches = (
        data[start : start + dtype.itemsize * count].view(dtype) for dtype, start, count in arrays
    )
    return Contents(
        int(fields["n_bits"]),
        lengths,
        tuple(float(mean) for mean in fields["crowding"]),
        {int(k): tuple(int(c) for c in costs) for k, costs in fields["sample_costs"].items()},
        str(fields["fingerprint"]),
        offsets,
        rows,
        sketches,
    )


def _unfit(path: Path, reason: str) -> IndexMismatchError:
    return IndexMismatchError(f"{path}: {reason}; build the index again")
