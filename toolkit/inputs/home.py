"""Paths that begin with ``~``."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["with_home"]


def with_home(path: str | os.PathLike[str]) -> Path:
    """A path with ``~`` or ``~NAME`` at its start replaced by that user's home folder.

    As in a shell, the path is unchanged if there is no such user; pathlib would raise.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111
