"""Arrays in ``.npy`` files and ``.npz`` archives, without unpickling and within limits.

NumPy's own reader parses headers with a tokenizer that may raise any exception on a damaged one,
and allocates the memory that a header asks for before it looks at the data.
"""

from __future__ import annotations

import ast
import math
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import HashkitError
from hashkit.inputs.limits import check_limit
from hashkit.inputs.opening import open_file, size_on_disk
from hashkit.inputs.text import shown
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["NPY_SIGNATURE", "read_npy", "read_npz"]

NPY_SIGNATURE: Final = b"\x93NUMPY"

_MAX_HEADER_BYTES: Final = 10_000
"""NumPy's own limit; a header of plain values has 128."""

_MAKES_PARSER_WARN: Final = re.compile(r"\\|[0-9][a-zA-Z_]")
"""Text that makes Python's parser warn; it is in no header of numbers or text."""

_TYPE: Final = re.compile(r"[<>=|]?[?biufcmMOSUV][0-9]*(\[[0-9]*[A-Za-z]{1,2}\])?")
"""Types as NumPy writes them; for others, it may warn."""

_KINDS: Final = "biufcUS"
_CHUNK_BYTES: Final = 1 << 24


def read_npy(path: Path, error: type[HashkitError]) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises
    ------
    HashkitError
        ``error``, if the file cannot be read, is damaged, or holds Python objects.
    """
    try:
        with open_file(path) as file:
            n_bytes = path.stat().st_size
            return _Member(file, n_bytes, path, "the array", error).read()
    except FileNotFoundError:
        raise error(f"{path}: there is no such file") from None
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror or fault})") from None


def read_npz(
    path: Path, wanted: Sequence[str], error: type[HashkitError]
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The wanted arrays of a ``.npz`` archive; others are not read.

    Returns
    -------
    tuple
        (arrays, names): the wanted arrays that the archive has, and the names of all its arrays.

    Raises
    ------
    HashkitError
        ``error``, if the file cannot be read, is damaged, or a wanted array holds Python objects.
    """
    try:
        with open_file(path) as file:
            if not zipfile.is_zipfile(file):
                raise error(f"{path}: expected an .npz archive, found other data")
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                members = {one.filename.removesuffix(".npy"): one for one in archive.infolist()}
                arrays = {
                    name: _read_member(archive, members[name], path, error)
                    for name in wanted
                    if name in members
                }
                return arrays, list(members)
    except FileNotFoundError:
        raise error(f"{path}: there is no such file") from None
    except HashkitError:
        raise
    except Exception as fault:  # a damaged archive makes zipfile raise anything
        reason = getattr(fault, "strerror", None) or foreign_message(fault)
        raise error(f"{path}: cannot be read as an .npz archive ({reason})") from None


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, error: type[HashkitError]
) -> NDArray[Any]:
    name = f"the array {shown(member.filename.removesuffix('.npy'))}"
    with archive.open(member) as stream:
        values = _Member(stream, member.file_size, path, name, error).read()  # type: ignore[arg-type]
        stream.read(1)  # reading the end compares the checksum
    return values


class _Member:
    """One array: a stream of a known length that begins with a header."""

    def __init__(
        self, stream: BinaryIO, n_bytes: int, path: Path, name: str, error: type[HashkitError]
    ) -> None:
        self._stream, self._left = stream, n_bytes
        self._path, self._name, self._error = path, name, error

    def read(self) -> NDArray[Any]:
        """The array, in its own memory."""
        dtype, is_fortran, shape = self._header()
        n_bytes = math.prod(shape) * dtype.itemsize
        if n_bytes != self._left:
            raise self._fault(f"expected {n_bytes:,} bytes by its header, found {self._left:,}")
        check_limit(
            "array_bytes", n_bytes, self._name, self._path, on_disk=size_on_disk(self._path)
        )
        data = np.empty(n_bytes, np.uint8)
        done = 0
        while done < n_bytes:
            part = self._stream.read(min(_CHUNK_BYTES, n_bytes - done))
            if not part:
                raise self._fault(f"expected {n_bytes:,} bytes, found {done:,}")
            data[done : done + len(part)] = np.frombuffer(part, np.uint8)
            done += len(part)
        values = data.view(dtype) if dtype.itemsize else np.zeros(math.prod(shape), dtype)
        if dtype.kind == "U" and values.size and dtype.itemsize:
            points = values.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
            if points.max() > sys.maxunicode:  # NumPy would fail on access
                raise self._fault("expected text, found characters that do not exist")
        return values.reshape(shape, order="F" if is_fortran else "C")

    def _header(self) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
        start = self._take(8)
        if start[:6] != NPY_SIGNATURE or start[6] not in (1, 2, 3):
            raise self._fault("expected a header of NumPy, found other data")
        size = int.from_bytes(self._take(2 if start[6] == 1 else 4), "little")
        if size > _MAX_HEADER_BYTES:
            raise self._fault(f"expected a header of at most {_MAX_HEADER_BYTES} bytes")
        text = self._take(size).decode("latin-1").strip()
        try:
            if _MAKES_PARSER_WARN.search(text):
                raise ValueError
            fields = ast.literal_eval(text)
            kind = fields["descr"]
            if isinstance(kind, list):  # a table with named columns, which is refused below
                kind = "V"
            if not _TYPE.fullmatch(kind):
                raise ValueError
            dtype = np.dtype(kind)
            is_fortran, shape = fields["fortran_order"], fields["shape"]
        except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
            raise self._fault("expected a header of NumPy, found a damaged one") from None
        if dtype.hasobject:
            raise self._fault(
                "it holds Python objects, which would have to be unpickled: save "
                "plain numbers or text"
            )
        is_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
        if dtype.kind not in _KINDS or type(is_fortran) is not bool or not is_shape:
            raise self._fault(f"expected numbers or text, found {shown(str(fields))}")
        return dtype, is_fortran, shape

    def _take(self, n_bytes: int) -> bytes:
        data = self._stream.read(n_bytes)
        if len(data) != n_bytes:
            raise self._fault("expected a header of NumPy, found a file that is cut off")
        self._left -= n_bytes
        return data

    def _fault(self, found: str) -> HashkitError:
        return self._error(f"{self._path}: {self._name} cannot be read: {found}")
