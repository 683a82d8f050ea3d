"""Waits for changes in a folder that may vanish for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from hashkit.errors import DatasetError, MissingExtraError

__all__ = ["FolderWatch"]

_STEP_MS: Final = 250
_QUIET_STEPS: Final = 4
"""After a change, the folder must be quiet for a second: a file may still be being written."""

_LONGEST_BURST_SECONDS: Final = 60.0
"""Longest wait for quiet, so that endless changes are acted on from time to time."""


class FolderWatch:
    """Notices changes in a folder and its subfolders from its creation on.

    If the folder vanishes, the watch waits for it to come back; both count as a change.

    Parameters
    ----------
    folder
        The folder.
    is_relevant
        Whether a change of the file at a path counts; changes of the bank do not.

    Raises
    ------
    MissingExtraError
        If the extra ``watch`` is not installed.
    DatasetError
        If the system does not report changes.
    """

    def __init__(self, folder: Path, is_relevant: Callable[[str], bool]) -> None:
        try:
            from watchfiles import watch
        except ModuleNotFoundError:
            raise MissingExtraError("watchfiles", "watch", "watching a folder") from None
        self._watch = watch
        self._folder = folder
        self._is_relevant = is_relevant
        self._identity: tuple[int, int] | None = None
        self._changes: Generator[set[Any], None, None] | None = None
        self._has_changed = False
        self._open()

    def wait(self, at_most: float | None = None) -> None:
        """Return when something has changed, and the folder has been quiet for a second.

        Parameters
        ----------
        at_most
            Return after this many seconds in any case; None to wait for a change.

        Raises
        ------
        DatasetError
            If the system does not report changes.
        KeyboardInterrupt
            On Ctrl-C.
        """
        started = time.monotonic()
        while at_most is None or time.monotonic() - started < at_most:
            if self._is_other_folder():
                self._open()
                return
            if self._has_changed or self._next():
                self._has_changed = False
                self._wait_until_quiet()
                return

    def _wait_until_quiet(self) -> None:
        started, n_quiet = time.monotonic(), 0
        while n_quiet < _QUIET_STEPS and time.monotonic() - started < _LONGEST_BURST_SECONDS:
            n_quiet = 0 if self._next() else n_quiet + 1

    def _is_other_folder(self) -> bool:
        """Whether the folder has vanished or come back, or a disk was mounted over it."""
        identity = _identity_of(self._folder)
        is_watched = self._changes is not None
        return identity != self._identity or is_watched != (identity is not None)

    def _open(self) -> None:
        """Begin to watch; the watch itself starts with the first step."""
        self._identity = _identity_of(self._folder)
        self._changes = None
        if self._identity is not None:
            self._changes = self._watch(
                self._folder,
                watch_filter=lambda _, path: self._is_relevant(path),
                rust_timeout=_STEP_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
            self._has_changed = self._next()

    def _next(self) -> bool:
        """Whether something changes within a quarter of a second."""
        if self._changes is None:
            time.sleep(_STEP_MS / 1000)
            return False
        try:
            return bool(next(self._changes, None))
        except FileNotFoundError:  # the folder is gone
            self._changes = None
            return False
        except (OSError, RuntimeError) as error:
            self._changes = None
            raise DatasetError(
                f"{self._folder}: expected the system to report changes, found: {error}; raise its "
                "limit of watched folders (fs.inotify.max_user_watches), or sync from time to time "
                "without `watch=True`"
            ) from None


def _identity_of(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
