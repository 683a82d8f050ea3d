"""Locks that one process holds, in files that stay; the system releases them if it dies."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import filelock

__all__ = ["LockHeldError", "lock_file"]

LockHeldError = filelock.Timeout
"""Raised by `lock_file` if another process, or another thread of this one, holds the lock."""


def lock_file(path: Path, seconds: float = 0) -> filelock.BaseFileLock:
    """Take the lock of a file, which is made if it does not exist; call ``release`` on the result.

    The file is not removed: otherwise two processes could lock two files of the same name. The lock
    belongs to the process, not to a thread: one may take it, and another release it.

    Parameters
    ----------
    seconds
        How long to wait for another process to release it.

    Raises
    ------
    LockHeldError
        If it is held until then.
    OSError
        If the file cannot be made.
    """
    lock = filelock.FileLock(path, timeout=seconds, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        if not path.exists():  # no file can be made in the folder
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        raise
    return lock
