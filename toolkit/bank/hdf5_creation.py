"""Creates HDF5 files so that a full disk raises an error instead of ending the process.

After a write that failed, HDF5 tries again whenever the file is closed and when the process ends,
prints a traceback each time, and then crashes. So here it writes to memory, which keeps only pages
that are not zero; they are then written to the file.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import h5py

__all__ = ["created_hdf5"]

# The commit record must not straddle a memory page or a disk sector: a kill between two pages would
# leave half of it. 64 also keeps every column aligned for its element type.
_ALIGNMENT: Final = 64

_PAGE_BYTES: Final = 4096

_ALLOCATED_BYTES: Final = 64 * 1024
"""Bytes at the start that are allocated on the disk even if they are zero. Commits are written
there, so they succeed even if the disk is full by then."""


@contextlib.contextmanager
def created_hdf5(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file, and yield it to be filled; an existing file is overwritten.

    The file is sparse where the file system allows it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    memory = _SparseMemory()
    # These bounds keep the file readable by every version of HDF5 since 1.8.
    with h5py.File(
        memory,
        "w",
        libver=("v108", "v110"),
        alignment_threshold=1,
        alignment_interval=_ALIGNMENT,
    ) as file:
        yield file
    with path.open("wb") as target:
        memory.copy_to(target)


class _SparseMemory(io.RawIOBase):
    """A file in memory; pages that hold only zeros take no space."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}
        self._size = 0
        self._position = 0

    def copy_to(self, target: BinaryIO) -> None:
        """Write the content to an empty file; zero pages after the first ones are left out."""
        target.write(bytes(min(_ALLOCATED_BYTES, self._size)))
        target.truncate(self._size)
        for number, page in sorted(self._pages.items()):
            start = number * _PAGE_BYTES
            target.seek(start)
            target.write(page[: self._size - start])

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self._size = self._position if size is None else size
        return self._size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n_bytes = max(0, min(len(view), self._size - self._position))
        for number, start, stop, done in self._pieces(n_bytes):
            page = self._pages.get(number)
            view[done : done + stop - start] = page[start:stop] if page else bytes(stop - start)
        self._position += n_bytes
        return n_bytes

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for number, start, stop, done in self._pieces(len(view)):
            piece = view[done : done + stop - start]
            if number in self._pages or piece != bytes(len(piece)):
                self._pages.setdefault(number, bytearray(_PAGE_BYTES))[start:stop] = piece
        self._position += len(view)
        self._size = max(self._size, self._position)
        return len(view)

    def _pieces(self, n_bytes: int) -> Iterator[tuple[int, int, int, int]]:
        """Page, start and stop in the page, and position in the data, of each piece of a range."""
        done = 0
        while done < n_bytes:
            number, start = divmod(self._position + done, _PAGE_BYTES)
            stop = min(_PAGE_BYTES, start + n_bytes - done)
            yield number, start, stop, done
            done += stop - start
