"""The name that hashkit is distributed under, and the command that installs it.

hashkit is on no package index yet, so the command takes a clone of the repository. Once it is
published, `_SOURCE` becomes the distribution's name and `_WHERE` becomes empty, here alone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DISTRIBUTION", "install_command"]

DISTRIBUTION: Final = "hashkit-retrieval"

_SOURCE: Final = "."
_WHERE: Final = " (in a clone of hashkit)"


def install_command(extra: str | None = None) -> str:
    """The command that installs hashkit, with an extra if one is named, and where to type it."""
    requirement = f"'{_SOURCE}[{extra}]'" if extra else _SOURCE
    return f"pip install {requirement}{_WHERE}"
