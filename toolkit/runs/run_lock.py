"""The lock of a run: one process trains it at a time, and one exports it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

from hashkit.errors import RunError, RunLockedError
from hashkit.files.locking import LockHeldError, lock_file
from hashkit.messages.os_errors import cannot_write

__all__ = ["RunTask", "lock_path", "locked_run"]

RunTask: TypeAlias = Literal["training", "export"]

_DOING: Final[dict[RunTask, str]] = {"training": "training", "export": "exporting"}


def lock_path(run: Path, task: RunTask) -> Path:
    """Path of the lock file of a run folder, beside it: ``.NAME.training.lock``.

    It is the same for all paths of one folder. It lies outside, because a run folder may be removed
    and made again, and then two processes would lock two files of the same name.
    """
    folder = Path(os.path.realpath(run))
    return folder.with_name(f".{folder.name}.{task}.lock")


@contextlib.contextmanager
def locked_run(run: Path, task: RunTask) -> Iterator[None]:
    """Lock a run folder for one task; the operating system releases the lock if the process dies.

    Raises
    ------
    RunLockedError
        If another process, or another thread of this one, does the same with this run.
    RunError
        If the lock file cannot be written.
    """
    path = lock_path(run, task)
    try:
        lock = lock_file(path)
    except LockHeldError:
        raise RunLockedError(
            f"{run}: expected a run that nobody else works on, but another process is "
            f"{_DOING[task]} it; wait for it to end, or stop it"
        ) from None
    except OSError as error:
        raise RunError(cannot_write(error, path)) from error
    try:
        yield
    finally:
        lock.release()
