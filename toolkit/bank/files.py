"""The lock of a bank, its atomic replacement, and errors of its file."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import filelock

from hashkit.errors import BankError, BankLockedError
from hashkit.files.locking import LockHeldError, lock_file
from hashkit.files.private import remove_leftovers
from hashkit.files.writing import make_parents, written_whole
from hashkit.inputs.opening import open_file
from hashkit.messages.os_errors import cannot_write, no_such_bank

__all__ = [
    "check_bank_name",
    "existing_bank",
    "locked",
    "locked_new",
    "replacing",
    "resolve_link",
    "write_errors",
]


_SUFFIXES: Final = (".h5", ".hdf5")

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""


def resolve_link(path: str | os.PathLike[str]) -> Path:
    """Resolve a symbolic link, so that replacing the file does not replace the link."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path


def existing_bank(path: str | os.PathLike[str]) -> Path:
    """Path of an existing bank, with a symbolic link resolved.

    Raises
    ------
    BankError
        If the file does not exist.
    """
    path = resolve_link(path)
    if not path.exists():
        raise BankError(no_such_bank(path))
    return path


def check_bank_name(path: Path) -> None:
    """Check that a new bank is not named like an image, and replaces only a bank.

    Raises
    ------
    BankError
        If the name is that of an image, or another kind of file exists.
    """
    from hashkit.imaging.formats import IMAGE_SUFFIXES  # loads Pillow

    is_bank_name = path.suffix.lower() in _SUFFIXES
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise BankError(
            f"{path}: expected the name of a bank, such as {path.with_suffix('.h5').name}, found "
            "the name of an image: choose another name"
        )
    if path.is_file() and path.stat().st_size and not is_bank_name and not _is_bank(path):
        raise BankError(
            f"{path}: expected a bank or a new file, found another file, which is not replaced: "
            "choose another name"
        )


def _is_bank(path: Path) -> bool:
    with open_file(path) as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` into a `BankError` about the bank at ``path``."""
    try:
        yield
    except OSError as error:
        raise BankError(f"{cannot_write(error, path)}; committed rows are kept") from error


@contextlib.contextmanager
def locked(
    path: Path, seconds: float = 0
) -> Iterator[tuple[filelock.BaseFileLock, contextlib.ExitStack]]:
    """Lock ``path`` for one writer; the lock is released on exit unless the caller pops the stack.

    A pipeline may make the writer in one thread and close it in another.

    Parameters
    ----------
    seconds
        How long to wait for another writer.
    """
    with contextlib.ExitStack() as keep:
        with write_errors(path):
            if path.is_dir():  # before a lock file is left beside it
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            lock = _locked(path, seconds)
        keep.callback(lock.release)
        with write_errors(path):
            remove_leftovers(path)  # left by a killed writer
        yield lock, keep


@contextlib.contextmanager
def locked_new(
    path: Path, *, overwrite: bool, instead: str
) -> Iterator[tuple[filelock.BaseFileLock, contextlib.ExitStack]]:
    """Lock ``path`` as `locked` does, for a new bank; missing parent folders are created.

    Parameters
    ----------
    overwrite
        Whether an existing file may be replaced.
    instead
        What to do with an existing file, for the message.

    Raises
    ------
    BankError
        If the file exists and ``overwrite`` is False, or the name is not that of a bank.
    """
    with write_errors(path):
        make_parents(path)
        check_bank_name(path)
    with locked(path) as (lock, keep):
        if path.exists() and not overwrite:
            raise BankError(
                f"{path}: exists already; {instead}, or replace it with `overwrite=True`"
            )
        yield lock, keep


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file that then replaces ``path`` atomically."""
    with write_errors(path), written_whole(path) as new:
        yield new


def _locked(path: Path, seconds: float) -> filelock.BaseFileLock:
    try:
        return lock_file(Path(f"{path}.lock"), seconds)
    except LockHeldError:
        waited = f", still after {seconds:g} s" if seconds else ""
        raise BankLockedError(
            f"{path}: another process is writing this bank{waited}; wait for it to end, "
            "or write another file"
        ) from None
