"""Atomic writing of files, and their digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_digest", "part_path", "written_whole"]


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file; ``algorithm`` is a name known to `hashlib`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def part_path(path: Path) -> Path:
    """Path where `written_whole` writes a file until it is complete."""
    return path.with_name(path.name + ".part")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which is then flushed and replaces ``path`` atomically.

    If anything fails, ``path`` is unchanged and the new file is removed. A killed process may leave
    a file with ``.part`` appended to its name, which the next attempt replaces.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    part = part_path(path)
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
