"""Text files of one code or one label a line."""

from __future__ import annotations

from pathlib import Path

from hashkit.errors import CodesError

__all__ = ["read_lines"]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, of which only the last ones may be empty.

    Raises
    ------
    CodesError
        If it cannot be read, or an empty line stands among the others.
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
            raise CodesError(f"{path}, line {number}: is empty; expected one line a code")
    return lines
