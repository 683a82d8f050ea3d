"""Reads arrays of numbers from MATLAB's files: level 5 (``-v6``, ``-v7``) and HDF5 (``-v7.3``).

Source: MathWorks, *MAT-File Format*, for level 5. A file is a header of 128 bytes and data
elements, each of which is a variable, possibly compressed. Variables that are not real numbers
are left out.
"""

from __future__ import annotations

import dataclasses
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.inputs.limits import TooLargeError, check_limit, limits
from hashkit.inputs.opening import open_file, read_file
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["SIGNATURE", "read_mat"]

SIGNATURE: Final = b"MATLAB "
"""First bytes of the text at the start of every MATLAB file."""

_HDF5: Final = b"MATLAB 7.3"
_HEADER_BYTES: Final = 128
_MATRIX: Final = 14
_COMPRESSED: Final = 15
_MATRIX_PARTS: Final = 3
"""Flags, dimensions and name; the values of an empty array may be missing."""

_TYPES: Final = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
"""NumPy's types by the number of an element's type."""
_CLASSES: Final = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
"""NumPy's types by the number of an array's class; its elements may have a smaller type."""
_COMPLEX: Final = 0x08
_CUT: Final = "it is damaged or cut off"


def read_mat(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of real numbers by the names of their variables.

    Raises
    ------
    CodesError
        If the file cannot be read, is damaged, or has level 4.
    """
    try:
        with open_file(path) as file:
            start = file.read(_HEADER_BYTES)
        if start.startswith(_HDF5):
            return _read_hdf5(path)
        data = read_file(path, "text_bytes")
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        order = {b"IM": "<", b"MI": ">"}.get(start[126:128])
        if order is None:
            raise _DamagedError(_CUT)
        found = (_variable(one, path) for one in _elements(data[_HEADER_BYTES:], order))
        return {one.name: one.values for one in found if one is not None}
    except TooLargeError as error:
        raise CodesError(f"{path}: {error.strerror}") from None
    except (_DamagedError, struct.error, zlib.error, ValueError) as error:
        reason = str(error) if isinstance(error, _DamagedError) else _CUT
        raise CodesError(f"{path}: cannot be read as a MATLAB file: {reason}") from None


class _DamagedError(Exception):
    """What is wrong with a file."""


@dataclasses.dataclass(frozen=True)
class _Element:
    """One data element: the number of its type, its bytes, and the byte order of the file."""

    kind: int
    data: bytes
    order: str


@dataclasses.dataclass(frozen=True)
class _Variable:
    name: str
    values: NDArray[Any]


def _elements(data: bytes, order: str) -> Iterator[_Element]:
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, position)
        position += 8
        if kind >> 16:  # a small element holds its data in its second word
            size, kind, position = kind >> 16, kind & 0xFFFF, position - 4
            padded = 4
        else:
            padded = size if kind == _COMPRESSED else size + -size % 8
        if size > padded or position + size > len(data):
            raise _DamagedError(_CUT)
        yield _Element(kind, data[position : position + size], order)
        position += padded


def _variable(element: _Element, path: Path) -> _Variable | None:
    """The variable of an element of the file; None if it is not an array of real numbers."""
    if element.kind == _COMPRESSED:
        inflated = zlib.decompressobj()
        data = inflated.decompress(element.data, limits().array_bytes)
        if inflated.unconsumed_tail:
            check_limit("array_bytes", limits().array_bytes + 1, "a variable", path)
        element = next(_elements(data, element.order), element)
    if element.kind != _MATRIX:
        raise _DamagedError("expected variables, found other data")
    parts = list(_elements(element.data, element.order))
    if len(parts) < _MATRIX_PARTS:
        raise _DamagedError(_CUT)
    flags, shape_part, name, *values = parts
    word = struct.unpack_from(f"{element.order}I", flags.data)[0]
    dtype, is_complex = _CLASSES.get(word & 0xFF), bool(word >> 8 & _COMPLEX)
    if dtype is None or is_complex or not values:
        return None
    shape = np.frombuffer(shape_part.data, f"{element.order}i4").tolist()
    stored = _TYPES.get(values[0].kind)
    if stored is None or any(n < 0 for n in shape):
        raise _DamagedError(_CUT)
    array = np.frombuffer(values[0].data, element.order + stored)
    if len(array) != math.prod(shape):
        raise _DamagedError(_CUT)
    made = array.astype(dtype).reshape(shape, order="F")
    return _Variable(name.data.decode("ascii"), made)


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    import h5py

    arrays: dict[str, NDArray[Any]] = {}
    try:
        with h5py.File(path, "r") as file:
            for name in file:
                # Links and external data would read other files.
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    continue
                dataset = file[name]
                if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "biuf":
                    continue
                if dataset.external or dataset.is_virtual or dataset.attrs.get("MATLAB_empty"):
                    continue
                check_limit("array_bytes", dataset.nbytes, "a variable", path)
                arrays[name] = np.asarray(dataset[()]).T  # MATLAB's order of dimensions
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({foreign_message(error)})") from None
    except Exception as error:  # a damaged file makes h5py raise anything
        reason = foreign_message(error)
        raise CodesError(f"{path}: cannot be read as a MATLAB file ({reason})") from None
    return arrays
