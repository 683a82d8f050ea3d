"""Opens files to read them: regular files only, of limited size, and without ever blocking.

A folder may contain pipes, sockets and devices with the names of images, and a user may name one of
them. Opening a pipe waits for its other end, reading a device may never end, and a sparse file can
have any size at no cost. All readers open files here.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from hashkit.inputs.limits import check_limit

__all__ = [
    "NotAFileError",
    "bytes_on_disk",
    "check_file",
    "open_file",
    "read_file",
    "read_text",
    "read_with_status",
    "size_on_disk",
]

PathText: TypeAlias = str | os.PathLike[str]

_FLAGS: Final = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe may have replaced the file after the check
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NOINHERIT", 0)
)
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_BLOCK: Final = 512
"""Unit of ``st_blocks`` in bytes, on all systems that have it."""


class NotAFileError(OSError):
    """A folder, pipe, socket or device where a file was expected."""


def check_file(path: PathText) -> os.stat_result:
    """Status of a regular file; for libraries that open files by themselves.

    Raises
    ------
    OSError
        If there is no such file, or it is not a regular file (`NotAFileError`).
    """
    try:
        status = os.stat(path)  # noqa: PTH116 - faster, for many small files
    except ValueError:  # a NUL, which texts in files may have, but no name on the system
        raise FileNotFoundError(errno.ENOENT, "no file has such a name", os.fspath(path)) from None
    _check_regular(status, path)
    return status


def open_file(path: PathText, limit: str | None = None, *, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading.

    Parameters
    ----------
    limit
        A name of `hashkit.inputs.limits.LIMITS` that the file's size must not exceed; None for any
        size.
    buffering
        As for `open`.

    Raises
    ------
    OSError
        If it cannot be opened, is not a regular file (`NotAFileError`), or is too large
        (`hashkit.inputs.limits.TooLargeError`).
    """
    handle, _ = _opened(path, limit)
    try:
        return open(handle, "rb", buffering=buffering)  # noqa: PTH123 - a handle
    except BaseException:
        os.close(handle)
        raise


def read_with_status(path: PathText, limit: str) -> tuple[bytes, os.stat_result, os.stat_result]:
    """Bytes of a regular file, whose size is limited, and its status before and after reading.

    It makes as few system calls as possible: with threads, each one hands on Python's lock, which
    costs more than the call if the file is small.

    Raises
    ------
    OSError
        See `open_file`.
    """
    handle, before = _opened(path, limit)
    try:
        data, left = b"", before.st_size
        while left > 0 and (piece := os.read(handle, left)):  # one call reads at most 2 GiB
            data = data + piece if data else piece
            left -= len(piece)
        return data, before, os.fstat(handle)
    finally:
        os.close(handle)


def _opened(path: PathText, limit: str | None) -> tuple[int, os.stat_result]:
    """Handle and status of a regular file; see `open_file`."""
    check_file(path)  # opening a device may have effects
    handle = os.open(path, _FLAGS)
    try:
        status = os.fstat(handle)
        _check_regular(status, path)
        if limit is not None:
            check_limit(limit, status.st_size, "the file", path)
    except BaseException:
        os.close(handle)
        raise
    return handle, status


def read_file(path: PathText, limit: str) -> bytes:
    """Bytes of a regular file, whose size is limited.

    Raises
    ------
    OSError
        See `open_file`.
    """
    # Unbuffered: for a small file, allocating a buffer costs more than reading.
    with open_file(path, limit, buffering=0) as file:
        data: bytes | None = file.read()
    if data is None:  # a system file with nothing to read yet
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), os.fspath(path))
    return data


def read_text(path: PathText, limit: str = "text_bytes", *, encoding: str = "utf-8") -> str:
    """Text of a regular file, with line breaks of any system.

    Raises
    ------
    OSError
        See `open_file`.
    UnicodeDecodeError
        If it is not in this encoding.
    """
    text = read_file(path, limit).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def size_on_disk(path: PathText) -> int:
    """Bytes that a file takes on the disk: fewer than its size if it is sparse or compressed."""
    return bytes_on_disk(Path(path).stat())


def bytes_on_disk(status: os.stat_result) -> int:
    """`size_on_disk` by the status of a file."""
    blocks: int | None = getattr(status, "st_blocks", None)  # not on Windows
    return status.st_size if blocks is None else min(status.st_size, blocks * _BLOCK)


def _check_regular(status: os.stat_result, path: PathText) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    found = next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "something else")
    number = errno.EISDIR if found == "a folder" else errno.EINVAL
    raise NotAFileError(number, f"expected a file, found {found}", os.fspath(path))
