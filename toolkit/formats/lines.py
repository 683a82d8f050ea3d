"""Reads text files with one code or one label per line."""

from __future__ import annotations

from pathlib import Path

from hashkit.errors import CodesError
from hashkit.inputs.text import read_numbered_lines

__all__ = ["read_lines"]


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Line numbers and stripped text; comments, lines that begin with ``#``, are left out.

    Raises
    ------
    CodesError
        If the file cannot be read, is not UTF-8, or has an empty line before the last one.
    """
    lines = read_numbered_lines(path, CodesError)
    for number, line in lines:
        if not line:
            raise CodesError(
                f"{path}, line {number}: expected a code or label, found an empty line"
            )
    return lines
