"""Reads text files with one code or one label per line."""

from __future__ import annotations

from pathlib import Path

from hashkit.errors import CodesError

__all__ = ["read_lines"]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, without empty lines at the end.

    Raises
    ------
    CodesError
        If the file cannot be read, or there is an empty line before the last one.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise CodesError(f"{path}: expected text, found other data") from None
    lines = text.rstrip().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            raise CodesError(
                f"{path}, line {number}: expected a code or label, found an empty line"
            )
    return lines
