"""Paths from users and from files, which the system may not accept."""

from __future__ import annotations

import os
from pathlib import Path

from hashkit.errors import ConfigError

__all__ = ["is_file", "with_home"]


def with_home(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` or ``~NAME`` at its start replaced by that user's home folder.

    If there is no such user, ``~NAME`` is the file or folder of this name, if it exists.

    Raises
    ------
    ConfigError
        If there is neither.
    """
    expanded = Path(os.path.expanduser(path))  # noqa: PTH111
    first = expanded.parts[0] if expanded.parts else ""
    if first.startswith("~") and not os.path.lexists(first):
        raise ConfigError(
            f"{os.fspath(path)}: expected the name of a user after ~, found no user "
            f"{first[1:] or 'at all'}: give the folder's whole path"
        )
    return expanded


def is_file(path: Path) -> bool:
    """Whether a path is a file; False for names that no file can have, unlike `Path.is_file`."""
    return os.path.isfile(path)  # noqa: PTH113
