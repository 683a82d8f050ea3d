"""Binary files: numbers and arrays, each checked against the bytes that are left."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hashkit.errors import HashkitError
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import bytes_on_disk

__all__ = ["BinaryReader"]


class BinaryReader:
    """Reads a binary file from its start to its end, and never more than it contains.

    Parameters
    ----------
    file
        An open file that can seek.
    error
        The exception to raise.
    name
        The file's name for messages.
    """

    def __init__(self, file: BinaryIO, error: type[HashkitError], name: str) -> None:
        self._file, self._error, self._name = file, error, name
        status = os.fstat(file.fileno())
        self._left = status.st_size - file.tell()
        self._on_disk = bytes_on_disk(status)

    def fault(self, found: str) -> HashkitError:
        """An error about this file, to raise: ``found`` says what is wrong."""
        return self._error(f"{self._name}: {found}")

    def read(self, n_bytes: int, what: str) -> bytes:
        """The next bytes; ``what`` describes them in messages.

        Raises
        ------
        HashkitError
            If the file is too short, or this part is longer than a JSON document may be.
        """
        self._take(n_bytes, what)
        self._check_limit("json_bytes", n_bytes, what)
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise self.fault(f"expected {n_bytes} bytes of {what}, found {len(data)}")
        return data

    def numbers(self, layout: str, what: str) -> tuple[Any, ...]:
        """The next numbers by a layout of `struct`, such as ``<iiq``."""
        return struct.unpack(layout, self.read(struct.calcsize(layout), what))

    def array(self, dtype: DTypeLike, count: int, what: str) -> NDArray[Any]:
        """The next ``count`` values as a new array.

        Raises
        ------
        HashkitError
            If the file is too short, or the array exceeds its limit; no memory is taken then.
        """
        kind = np.dtype(dtype)
        n_bytes = kind.itemsize * count
        self._take(n_bytes, what)
        self._check_limit("array_bytes", n_bytes, what, on_disk=self._on_disk)
        values = np.empty(count, kind)
        n_read = self._file.readinto(values.view(np.uint8).data)  # type: ignore[attr-defined]
        if n_read != n_bytes:
            raise self.fault(f"expected {n_bytes} bytes of {what}, found {n_read}")
        return values

    def expect(self, n_bytes: int, what: str) -> None:
        """Raise unless this many bytes are left; to be called before allocating memory for them."""
        if not 0 <= n_bytes <= self._left:
            raise self.fault(
                f"expected {n_bytes:,} bytes of {what}, found {self._left:,} to the end of the "
                "file: it is damaged or cut off"
            )

    def skip(self, n_bytes: int, what: str) -> None:
        """Pass over bytes without reading them."""
        self._take(n_bytes, what)
        self._file.seek(n_bytes, os.SEEK_CUR)

    def _check_limit(self, limit: str, n_bytes: int, what: str, on_disk: int = 0) -> None:
        """Raise if a part is too large: a sparse file may have any size."""
        try:
            check_limit(limit, n_bytes, what, self._name, on_disk=on_disk)
        except TooLargeError as error:
            raise self.fault(str(error.strerror)) from None

    def _take(self, n_bytes: int, what: str) -> None:
        self.expect(n_bytes, what)
        self._left -= n_bytes
