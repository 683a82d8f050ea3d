"""Checks that optional dependencies are installed."""

from __future__ import annotations

from hashkit.distribution import find_package
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
        if find_package(package) is None:
            raise MissingExtraError(package, extra, purpose)
