"""Private names for files and folders that are being made, and the locks that show who makes them.

A private name is ``.NAME.RANDOM.hashkit-part``, where NAME is the name that the file will get. No
two processes share one, and no other program uses such names. While a process makes such a file or
folder, it holds a lock on it (``flock``), which ends with the process. So what a killed process
left behind is recognised, and the next process that makes the same file removes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

if os.name != "nt":
    import fcntl

__all__ = [
    "OPEN_FLAGS",
    "held",
    "is_private_name",
    "new_private_file",
    "private_folder",
    "remove_leftovers",
]

_SUFFIX: Final = ".hashkit-part"
_PRIVATE: Final = re.compile(rf"\.(?P<name>.+)\.[0-9a-f]{{16}}{re.escape(_SUFFIX)}", re.DOTALL)
_NAME_CHARACTERS: Final = 40
"""Characters kept of a target's name: at four bytes each, the private name fits any file system."""

OPEN_FLAGS: Final = os.O_RDWR | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY")
)
"""Flags of `os.open` to read and write hashkit's own files, never through a link."""


@contextlib.contextmanager
def private_folder(path: str | os.PathLike[str], parent: Path | None = None) -> Iterator[Path]:
    """Yield a new empty folder with a private name, which is removed at the end unless renamed.

    Such folders that killed processes left behind are removed first.

    Parameters
    ----------
    path
        What will be made in the folder; the folder's name is derived from it.
    parent
        Where the folder is made; by default beside ``path``.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    target = Path(os.path.realpath(path))
    parent = parent or target.parent
    _remove_leftovers(target.name, parent)
    folder, handle = _new_folder(target.name, parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def is_private_name(name: str, target: str | None = None) -> bool:
    """Whether a file or folder name is a private one, of ``target`` if that is given."""
    match = _PRIVATE.fullmatch(name)
    return match is not None and (target is None or match["name"] == _stem(target))


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Remove the private files for ``path`` that killed processes of this user left behind.

    Files of living processes stay, and so does everything that cannot be removed.
    """
    target = Path(os.path.realpath(path))
    _remove_leftovers(target.name, target.parent)


def new_private_file(target: Path, mode: int) -> tuple[Path, int]:
    """Make an empty file with a private name beside ``target``; returns its path and open handle.

    The file is locked until the handle is closed.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    while True:
        path = _private_path(target.name, target.parent)
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, OPEN_FLAGS | os.O_CREAT | os.O_EXCL, mode)
            # Another process may have taken it for a leftover before it was locked.
            if _lock(handle) is not False and path.exists():
                return path, handle
            os.close(handle)


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder for this process; a file that does not exist is made, empty.

    Raises
    ------
    BlockingIOError
        If another process, or another call in this one, holds it.
    OSError
        If it cannot be opened, or is a link.
    """
    if os.name == "nt":  # Windows cannot rename an open file, so nothing is held; not tried
        if not path.is_dir():
            path.touch()
        yield
        return
    while True:
        handle = _open_to_hold(path)
        try:
            if _lock(handle) is False:
                raise BlockingIOError(errno.EWOULDBLOCK, "another process is writing it", str(path))
            # It may have been renamed or removed by the process that held it before.
            if _is_at(handle, path):
                yield
                return
        finally:
            os.close(handle)


def _open_to_hold(path: Path) -> int:
    if path.is_dir():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return os.open(path, OPEN_FLAGS | os.O_CREAT, 0o666)


def _is_at(handle: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _stem(name: str) -> str:
    if len(name) <= _NAME_CHARACTERS:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{name[:_NAME_CHARACTERS]}-{digest}"


def _private_path(name: str, folder: Path) -> Path:
    return folder / f".{_stem(name)}.{secrets.token_hex(8)}{_SUFFIX}"


def _new_folder(name: str, parent: Path) -> tuple[Path, int | None]:
    while True:
        folder = _private_path(name, parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            if os.name == "nt":
                return folder, None
            with contextlib.suppress(FileNotFoundError):
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                if _lock(handle) is not False and folder.exists():
                    return folder, handle
                os.close(handle)


def _remove_leftovers(name: str, folder: Path) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if is_private_name(entry.name, name)]:
            with contextlib.suppress(OSError):
                _remove_if_dead(Path(entry.path))


def _remove_if_dead(path: Path) -> None:
    is_folder = stat.S_ISDIR(path.lstat().st_mode)
    if os.name == "nt":  # Windows refuses to remove an open file; not tried there
        path.unlink()
        return
    flags = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR | os.O_NONBLOCK
    handle = os.open(path, flags | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        is_ours = status.st_uid == os.geteuid() and (is_folder or stat.S_ISREG(status.st_mode))
        if is_ours and _lock(handle):
            shutil.rmtree(path) if is_folder else path.unlink()
    finally:
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock a file; False if another process has done so, None if the file system has no locks."""
    if os.name == "nt":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
