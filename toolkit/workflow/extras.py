"""Checks that optional dependencies are installed."""

from __future__ import annotations

import importlib.util

from hashkit.errors import MissingExtraError

__all__ = ["require"]


def require(extra: str, purpose: str, *packages: str) -> None:
    """Raise an error with the command that installs an extra, if one of its packages is missing.

    Raises
    ------
    MissingExtraError
        If one of ``packages`` cannot be found; see there for the other parameters.
    """
    for package in packages:
        try:
            is_there = importlib.util.find_spec(package) is not None
        except ImportError:
            is_there = False
        if not is_there:
            raise MissingExtraError(package, extra, purpose)
