"""Suggests the name that was meant by an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

__all__ = ["did_you_mean"]

_MAX_NAME: Final = 100
"""Characters that are compared: comparing takes time that grows with the square of the length."""

_LEAST_LIKENESS: Final = 0.75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean X?`` for the known name most similar to an unknown one; empty if none is."""
    near = difflib.get_close_matches(name[:_MAX_NAME], known, n=1, cutoff=_LEAST_LIKENESS)
    return f"did you mean {near[0]}?" if near else ""
