"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["file_digest", "part_path", "written_whole"]


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file, by an algorithm of `hashlib`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def part_path(path: Path) -> Path:
    """Where `written_whole` writes a file until it is whole."""
    return path.with_name(path.name + ".part")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, which then takes the place of ``path`` atomically.

    It is flushed to the disk before. Whatever fails, ``path`` stays as it was, and nothing else
    is left; of a killed process a file with ``.part`` behind its name may be, which the next
    attempt replaces.

    Raises
    ------
    OSError
        If it cannot be written.
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
