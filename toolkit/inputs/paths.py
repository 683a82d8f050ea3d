"""Paths from users and from files, which need not be such as the system takes."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_file", "with_home"]


def with_home(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` or ``~NAME`` at its start replaced by that user's home folder.

    As in a shell, the path is unchanged if there is no such user; pathlib would raise.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def is_file(path: Path) -> bool:
    """Whether a path is a file; False too for a name that no file can have, such as a long one."""
    return os.path.isfile(path)  # noqa: PTH113
