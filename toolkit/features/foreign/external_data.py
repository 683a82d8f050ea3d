"""Takes weights that lie beside an ONNX file ("external data") into the model.

The file may be anybody's, so it may name only regular files of its own folder: no absolute path, no
``..``, no link. Sizes are compared with the limit and with the files before memory is taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import onnx

from hashkit.errors import ModelError
from hashkit.features.foreign.graph_parts import all_tensors
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.numbers import whole_number
from hashkit.inputs.opening import open_file
from hashkit.inputs.text import shown

__all__ = ["GIT_LFS", "load_external_data"]

GIT_LFS: Final = b"version https://git-lfs"
"""Start of the text that Git stores in place of a large file."""

_AGAIN: Final = "export the model again"

_BLOCK: Final = 2**20

_PACKED_BITS: Final = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
"""Bits per value of the types that share bytes."""


@dataclasses.dataclass(frozen=True)
class _Piece:
    """One tensor, and the bytes of a file that are its values."""

    tensor: onnx.TensorProto
    location: str
    offset: int
    n_bytes: int


def load_external_data(model: onnx.ModelProto, path: Path) -> dict[str, str]:
    """Read all external data into the model.

    Parameters
    ----------
    model
        The model; changed in place.
    path
        Its file, whose folder holds the data.

    Returns
    -------
    dict
        SHA-256 of each file that was read, hexadecimal, by its name in the model.

    Raises
    ------
    ModelError
        If a file is missing, is not a plain file of this folder, is too short, or if the whole is
        larger than allowed.
    """
    pieces = [
        _piece(tensor, path)
        for tensor in all_tensors(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    if not pieces:
        return {}
    total = sum(piece.n_bytes for piece in pieces)
    try:
        check_limit("model_bytes", total, "the external data", path)
    except TooLargeError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    by_location: dict[str, list[_Piece]] = {}
    for piece in pieces:
        by_location.setdefault(piece.location, []).append(piece)
    return {location: _load(path, location, some) for location, some in by_location.items()}


def _piece(tensor: onnx.TensorProto, path: Path) -> _Piece:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = f"{path}: the external data of {tensor.name or 'a tensor'}"
    if "location" not in entries:
        raise ModelError(f"{name}: expected the name of a file, found none: {_AGAIN}")
    offset = whole_number(entries.get("offset") or "0")
    length = whole_number(entries["length"]) if entries.get("length") else None
    if offset is None or offset < 0 or (length is None and entries.get("length")):
        found = " and ".join(shown(entries.get(key, "")) for key in ("offset", "length"))
        raise ModelError(
            f"{name}: expected an offset and a length in bytes, found {found}: {_AGAIN}"
        )
    expected = _n_bytes(tensor, name)
    if length is not None and length != expected:
        raise ModelError(
            f"{name}: expected {expected:,} bytes for its shape {list(tensor.dims)}, found a "
            f"length of {length:,}: {_AGAIN}"
        )
    return _Piece(tensor, entries["location"], offset, expected)


def _n_bytes(tensor: onnx.TensorProto, name: str) -> int:
    if any(side < 0 for side in tensor.dims):
        raise ModelError(f"{name}: expected a shape, found {list(tensor.dims)}: {_AGAIN}")
    n_values = math.prod(int(side) for side in tensor.dims)
    kinds = onnx.TensorProto.DataType
    kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else "UNDEFINED"
    if kind in _PACKED_BITS:
        return -(-n_values * _PACKED_BITS[kind] // 8)
    if kind in ("UNDEFINED", "STRING"):
        raise ModelError(f"{name}: expected numbers, found the type {kind.lower()}: {_AGAIN}")
    return n_values * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _load(path: Path, location: str, pieces: Sequence[_Piece]) -> str:
    """Read one file; return its SHA-256."""
    file_path = _own_file(path, location)
    try:
        with open_file(file_path, "model_bytes") as file:
            _check_is_same(file, file_path, path)
            size = os.fstat(file.fileno()).st_size
            _check_lengths(file, size, pieces, f"{path}: its weights in {location}")
            for piece in pieces:
                file.seek(piece.offset)
                piece.tensor.raw_data = file.read(piece.n_bytes)
                piece.tensor.ClearField("external_data")
                piece.tensor.ClearField("data_location")
            file.seek(0)
            digest = hashlib.sha256()
            while block := file.read(_BLOCK):
                digest.update(block)
            return digest.hexdigest()
    except FileNotFoundError:
        raise ModelError(
            f"{path}: expected its weights in {location} beside it, found no such file: copy that "
            "file there too"
        ) from None
    except OSError as error:
        raise ModelError(
            f"{path}: its weights in {location} cannot be read ({error.strerror or error})"
        ) from None


def _own_file(path: Path, location: str) -> Path:
    """Path of a file inside the model's folder.

    Raises
    ------
    ModelError
        If the location leads elsewhere, or through a link.
    """
    parts = location.split("/")
    is_plain = (
        bool(location.strip())
        and not set(location) & set("\\\0")
        and not location.startswith("/")
        and not PureWindowsPath(location).drive
        and ".." not in parts
    )
    remedy = "export the model again, with its weights in its own folder"
    if not is_plain:
        raise ModelError(
            f"{path}: expected weights in a file of the model's own folder, found the location "
            f"{shown(location)}: {remedy}"
        )
    folder = Path(os.path.realpath(path.parent))
    inside = folder.joinpath(*(part for part in parts if part not in ("", ".")))
    if os.path.normcase(os.path.realpath(inside)) != os.path.normcase(inside):
        raise ModelError(
            f"{path}: expected weights in a plain file of the model's own folder, found a link at "
            f"{location}: put a copy of the file in its place (cp -L)"
        )
    return inside


def _check_is_same(file: Any, file_path: Path, path: Path) -> None:
    """Check that the file was not replaced by a link after it was checked."""
    opened, named = os.fstat(file.fileno()), os.lstat(file_path)
    if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
        raise ModelError(f"{path}: {file_path.name} changed while it was read: try again")


def _check_lengths(file: Any, size: int, pieces: Sequence[_Piece], name: str) -> None:
    end = max(piece.offset + piece.n_bytes for piece in pieces)
    if end <= size:
        return
    if file.read(len(GIT_LFS)) == GIT_LFS:
        raise ModelError(f"{name}: expected weights, found a pointer of Git LFS: git lfs pull")
    raise ModelError(
        f"{name}: expected at least {end:,} bytes, found {size:,}: the file is cut off, copy it "
        "again"
    )
