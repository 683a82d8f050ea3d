"""The folder of cached files, which are made once per machine and can be made again."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from hashkit.errors import BankError, ConfigError
from hashkit.inputs.paths import with_home
from hashkit.messages.byte_counts import file_size
from hashkit.messages.os_errors import cannot_write

__all__ = ["cache_folder", "cannot_write_in_cache", "make_room"]

_DEFAULT_GB: Final = 100.0
_ELSEWHERE: Final = "or set HASHKIT_CACHE to another folder"


def cache_folder() -> Path:
    """The folder: ``$HASHKIT_CACHE``, by default ``~/.cache/hashkit``."""
    base = os.environ.get("HASHKIT_CACHE")
    return with_home(base) if base else Path.home() / ".cache" / "hashkit"


def cannot_write_in_cache(error: OSError, path: Path) -> str:
    """Line for a cached file that could not be written."""
    return f"{cannot_write(error, path)}, {_ELSEWHERE}"


def make_room(folder: Path, n_bytes: int, keep: Collection[Path]) -> None:
    """Remove the least recently used files of a folder until there is room for others.

    A process that has a removed file open can still read it.

    Parameters
    ----------
    n_bytes
        Bytes of the files that will be added. All files together may have ``$HASHKIT_CACHE_GB``
        gigabytes, by default 100.
    keep
        Files that are not removed.

    Raises
    ------
    BankError
        If there is no room, within the limit or on the disk.
    ConfigError
        If ``HASHKIT_CACHE_GB`` is not a number.
    """
    if n_bytes == 0:
        return
    allowed = _allowed_bytes()
    files = []
    for path in folder.glob("*.h5"):  # none if there is no such folder
        with contextlib.suppress(FileNotFoundError):  # another process may remove some
            files.append((path, path.stat()))
    total = n_bytes + sum(status.st_size for _, status in files)
    for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if total > allowed and path not in keep:
            path.unlink(missing_ok=True)
            total -= status.st_size
    if total > allowed:
        raise BankError(
            f"{folder}: expected room for {file_size(total)} of shards, found a limit of "
            f"{file_size(allowed)}: set HASHKIT_CACHE_GB to a greater number"
        )
    above = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(above).free
    if free < n_bytes:
        raise BankError(
            f"{folder}: expected room for {file_size(n_bytes)} of shards, found "
            f"{file_size(free)} free: free some space, {_ELSEWHERE}"
        )


def _allowed_bytes() -> int:
    text = os.environ.get("HASHKIT_CACHE_GB") or str(_DEFAULT_GB)
    with contextlib.suppress(ValueError):
        value = float(text)
        if math.isfinite(value) and value > 0:
            return int(value * 1e9)
    raise ConfigError(f"HASHKIT_CACHE_GB: expected a number of gigabytes above 0, found {text!r}")
