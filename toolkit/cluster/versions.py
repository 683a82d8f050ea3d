"""Nodes with different versions of hashkit are refused: their answers could differ."""

from __future__ import annotations

from hashkit._version import __version__
from hashkit.errors import ClusterError

__all__ = ["check_version"]


def check_version(expected: str) -> None:
    """Raise `ClusterError` if this node does not have the driver's version."""
    if expected != __version__:
        raise ClusterError(
            f"expected hashkit {expected} on every node, found {__version__}: install the same "
            "version everywhere"
        )
