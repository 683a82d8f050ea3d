"""The folder of cached files, which are made once per machine and can be made again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder: ``$HASHKIT_CACHE``, by default ``~/.cache/hashkit``."""
    base = os.environ.get("HASHKIT_CACHE")
    return Path(base).expanduser() if base else Path.home() / ".cache" / "hashkit"
