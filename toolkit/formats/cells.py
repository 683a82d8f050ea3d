"""Splits the lines of a table into cells: at tabs, semicolons, commas or spaces."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Final

__all__ = ["Row", "split_rows"]

_DELIMITERS: Final = "\t;,"
"""The delimiter of a file is the first of these that it contains; spaces if it has none."""

_QUOTED: Final = re.compile(r'"(?:[^"]|"")*"')


def _pattern(unquoted: str, separator: str) -> re.Pattern[str]:
    """One cell, in quotes or not, and what follows it: a separator, or the end of the line."""
    return re.compile(rf'(?:"((?:[^"]|"")*)"|({unquoted}))(?:({separator})|$)')


_PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    " ": _pattern(r'[^"\s]+', r"\s+"),
    **{mark: _pattern(rf'[^"{mark}]*', f"[ ]*{mark}[ ]*") for mark in _DELIMITERS},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The cells of one line.

    Attributes
    ----------
    line
        Number of the line in the file, from 1.
    text
        The whole line.
    cells
        Texts of the cells, without quotes.
    is_quoted
        Whether a cell was in double quotes.
    """

    line: int
    text: str
    cells: Sequence[str]
    is_quoted: bool = False


def split_rows(lines: Sequence[tuple[int, str]]) -> tuple[list[Row], str]:
    """Rows of numbered lines, and their delimiter: a character, or a space for any white space.

    A delimiter at the end of all lines is dropped.
    """
    unquoted = (_QUOTED.sub("", line) if '"' in line else line for _, line in lines)
    marks = set().union(*unquoted)
    delimiter = next((mark for mark in _DELIMITERS if mark in marks), " ")
    if delimiter != " " and all(line.endswith(delimiter) for _, line in lines):
        lines = [(number, line[:-1].rstrip()) for number, line in lines]
    return [_row(number, line, delimiter) for number, line in lines], delimiter


def _row(number: int, line: str, delimiter: str) -> Row:
    if '"' in line:
        return Row(number, line, *_quoted_cells(line, _PATTERNS[delimiter]))
    if delimiter == " ":
        return Row(number, line, line.split())
    return Row(number, line, [part.strip() for part in line.split(delimiter)])


def _quoted_cells(line: str, pattern: re.Pattern[str]) -> tuple[list[str], bool]:
    cells: list[str] = []
    position, is_quoted = 0, False
    while True:
        match = pattern.match(line, position)
        if match is None:  # a quotation mark inside a text, as in 5" disk
            return [line], False
        quoted, plain, mark = match.groups()
        is_quoted |= quoted is not None
        cells.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        if mark is None:
            return cells, is_quoted
        position = match.end()
