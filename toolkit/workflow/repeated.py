"""Checks that no file is named twice: each row of a bank given twice would be found twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hashkit.errors import ConfigError

__all__ = ["check_each_once"]


def check_each_once(paths: Sequence[Path]) -> None:
    """Raise `ConfigError` if two paths lead to the same file, directly or through links."""
    known: dict[Path, Path] = {}
    for path in paths:
        other = known.setdefault(path.resolve(), path)
        if other is not path:
            raise ConfigError(
                f"expected each bank once, found {path} and {other}, which are one file: leave one "
                "of the two out"
            )
