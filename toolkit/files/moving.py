"""Moves files without ever replacing one, so that a kill at any moment loses nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from hashkit.files.private import OPEN_FLAGS, new_private_file, remove_leftovers
from hashkit.files.writing import make_parents, sync_folder
from hashkit.inputs.opening import open_file

__all__ = ["blake2b_of", "is_same_file", "move_file"]

_PIECE_BYTES: Final = 1 << 20

_NO_LINKS: Final = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
"""Errors of a file system that has no hard links, or refuses this one."""


def blake2b_of(path: Path) -> bytes:
    """BLAKE2b of a file, of 16 bytes.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_file(path) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.digest()


def move_file(source: Path, target: Path, digest: bytes) -> None:
    """Move a file to a name that does not exist, on the same file system or another.

    The target has the whole file before the source is removed, and both are on the disk. So a kill
    leaves the source, or the target, or both. Where the file system has no hard links, a kill may
    also leave an empty target beside the source.

    Parameters
    ----------
    digest
        BLAKE2b of the file, of 16 bytes; a copy to another file system is compared with it.

    Raises
    ------
    FileExistsError
        If the target exists and is another file.
    OSError
        If the file cannot be moved; the source is then unchanged.
    """
    make_parents(target)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno == errno.EEXIST and is_same_file(source, target):
            pass  # completes a move that was killed
        elif error.errno == errno.EXDEV:
            _copy(source, target, digest)
        elif error.errno in _NO_LINKS:
            _rename(source, target)
            sync_folder(source.parent)
            return
        else:
            raise
    sync_folder(target.parent)
    source.unlink()
    sync_folder(source.parent)


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths are names of one file, neither through a link; False if one is missing."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except OSError:
        return False


def _copy(source: Path, target: Path, digest: bytes) -> None:
    remove_leftovers(target)
    part, handle = new_private_file(target, 0o600)
    try:
        copied = hashlib.blake2b(digest_size=16)
        with open_file(source) as file:
            while piece := file.read(_PIECE_BYTES):
                copied.update(piece)
                left = memoryview(piece)
                while left:
                    left = left[os.write(handle, left) :]
        if copied.digest() != digest:
            raise OSError(errno.EIO, "the file changed while it was copied", str(source))
        shutil.copystat(source, part)
        os.fsync(handle)
        try:
            os.link(part, target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _rename(part, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        os.close(handle)


def _rename(source: Path, target: Path) -> None:
    """Rename a file where there are no hard links: its new name is reserved by an empty file."""
    os.close(os.open(target, OPEN_FLAGS | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        source.replace(target)
    except BaseException:
        target.unlink()
        raise
    sync_folder(target.parent)
