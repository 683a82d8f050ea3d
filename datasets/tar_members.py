"""The members of a tar; a damaged one cannot fill the memory, go on for ever, or end unnoticed."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Final

from hashkit.messages.foreign_errors import foreign_message

__all__ = ["tar_members"]

_LARGEST_HEADER: Final = 1 << 22
_MOST_AFTER: Final = 1 << 20
"""Most bytes after the end of a tar that are checked; they should be zeros."""


def tar_members(
    file: IO[bytes] | gzip.GzipFile, warn: Callable[[str], None] = lambda _: None
) -> Iterator[tarfile.TarInfo]:
    """Headers of the members in their order; their contents are not read.

    The file may be read elsewhere between two members.

    Parameters
    ----------
    warn
        Called with what is odd about the end of the tar, as a part of a sentence.

    Raises
    ------
    tarfile.TarError
        If it is not a tar, is cut off, or is damaged anywhere between members.
    """
    with _read_errors():
        tar = tarfile.open(fileobj=_Headers(file), mode="r:")  # type: ignore[call-overload]  # noqa: SIM115 - the file is the caller's
    while (member := _next_of(tar)) is not None:
        tar.members = []  # it would hold every member
        if member.size < 0 or tar.offset <= member.offset:
            raise tarfile.ReadError(f"the size {member.size} at byte {member.offset:,}")
        place = file.tell()
        yield member
        file.seek(place)
    end = tar.offset
    # tarfile also stops at a damaged header; a tar ends with blocks of zeros.
    file.seek(end)
    rest = file.read(_MOST_AFTER)
    if any(rest[: tarfile.BLOCKSIZE]):
        raise tarfile.ReadError(f"damaged or cut off at byte {end:,}")
    if not rest:
        warn("the end of the tar is missing: it may be cut off")
    elif any(rest):
        warn("what follows the end of the tar is left out: give tars that were joined one by one")


def _next_of(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    with _read_errors():
        return tar.next()


@contextlib.contextmanager
def _read_errors() -> Iterator[None]:
    """Turn the many kinds of errors that a damaged header gives into `tarfile.ReadError`."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error):
        raise
    except Exception as error:
        raise tarfile.ReadError(foreign_message(error)) from None


class _Headers:
    """A file from which only headers are read; tarfile takes their sizes from the file."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read a header."""
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)
