"""Labels as text, one per line.

A line is an integer; or 0 or 1 for each class (``0 1 1``, ``0,1,1`` or ``011``); or else a class
name. An ambiguous file is refused, and the message says what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.formats.cells import Row, split_rows
from hashkit.formats.class_names import number_classes
from hashkit.formats.lines import read_lines
from hashkit.inputs.numbers import is_number, whole_number
from hashkit.inputs.text import shown

__all__ = ["read_label_text"]

Labelled = tuple[NDArray[Any], tuple[str, ...]]
"""Labels and class names, as `read_label_text` returns them."""

_EXPECTED: Final = (
    "a class number `3`, a class name 'cat', or 0 or 1 for each class `0 1 1` in each line"
)
_BITS: Final = {"0": 0, "1": 1, "true": 1, "false": 0}
_UNKNOWN: Final = frozenset({"nan", "na", "n/a", "null", "none", "?"})
_NO_CLASSES: Final = frozenset(
    {"class", "class_id", "file", "id", "image", "index", "label", "labels", "name", "path"}
    | {"row", "target"}
)
"""Headings of columns that do not stand for a class, even if all values are 0 and 1."""

_IMAGES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})


def read_label_text(path: Path) -> Labelled:
    """Read a text file with one label per line; lines that begin with ``#`` are left out.

    Returns
    -------
    tuple
        (labels, class_names): int64 [n], -1 where unknown; or uint8 [n, n_classes]; and the names
        by label, if the lines are names or a first line names the columns.

    Raises
    ------
    CodesError
        If the file cannot be read, its lines differ in kind, or it has two possible meanings.
    """
    lines = read_lines(path)
    if not lines:
        raise CodesError(f"{path}: expected {_EXPECTED}, found no lines")
    rows, delimiter = split_rows(lines)
    if all(len(row.cells) == 1 for row in rows):
        return _single(path, rows)
    heading = _heading(rows)
    body = rows if heading is None else rows[1:]
    are_values = [_are_values(row) for row in body]
    other = next((name for name in heading or () if name.lower() in _NO_CLASSES), None)
    if other is not None:
        _refuse(path, rows[0], f"a table with the column {shown(other)}: save the labels alone")
    if all(are_values):
        return _matrix(path, body), heading or ()
    several = next((row for row in rows if len(row.cells) > 1), rows[0])
    if delimiter != " ":
        _refuse(
            path,
            several,
            f"{len(several.cells)} columns, {shown(several.text)}: save the labels alone, and put "
            f"a name that contains {shown(delimiter)} in double quotes",
        )
    if any(is_one and len(row.cells) > 1 for row, is_one in zip(body, are_values, strict=True)):
        wrong = body[are_values.index(False)]
        _refuse(path, wrong, f"{shown(wrong.text)} among lines of numbers")
    return _names(path, rows, [_phrase(path, row) for row in rows])


def _single(path: Path, rows: list[Row]) -> Labelled:
    """Labels of rows with one cell."""
    texts = [row.cells[0] for row in rows]
    kinds = set(texts)
    if any(row.is_quoted for row in rows) or not all(map(is_number, kinds)):
        return _names(path, rows, texts)
    digits = kinds - {"-1"}
    if all(map(str.isdigit, digits)):
        if kinds == digits and _are_bits(path, texts, kinds):
            return np.array([list(text) for text in texts]).astype(np.uint8), ()
        if any(len(text) > 1 and text.startswith("0") for text in digits):
            return _padded(path, rows, texts)
    numbers = {text: whole_number(text) for text in kinds}
    for row, text in zip(rows, texts, strict=True):
        if numbers[text] is None:
            _refuse(path, row, f"{shown(text)}, which is no integer of 64 bits")
    return np.array([numbers[text] for text in texts], dtype=np.int64), ()


def _are_bits(path: Path, texts: Sequence[str], kinds: set[str]) -> bool:
    """Whether digits such as ``011`` are 0 or 1 for each class, rather than numbers."""
    widths = {len(text) for text in kinds}
    if widths == {1} or len(widths) > 1 or not set("".join(kinds)) <= {"0", "1"}:
        return False
    if any(text.startswith("0") for text in kinds):
        return True
    raise CodesError(
        f"{path}: {shown(texts[0])} could be a class number, or 0 or 1 for each of {widths.pop()} "
        f"classes: write `{' '.join(texts[0][:5])}` with spaces for classes, or "
        f"`{texts[0][:19]}.0` for a number"
    )


def _padded(path: Path, rows: list[Row], texts: Sequence[str]) -> Labelled:
    """Names such as ``007``; refused if ``7`` is there too, which may be the same class."""
    first: dict[str, str] = {}
    for row, text in zip(rows, texts, strict=True):
        other = first.setdefault(text.lstrip("0"), text)
        if other != text:
            _refuse(
                path,
                row,
                f"{shown(text)} beside {shown(other)}: remove the zeros before the numbers if both "
                "are one class, or put both in double quotes",
            )
    return number_classes(texts)


def _heading(rows: list[Row]) -> tuple[str, ...] | None:
    """Class names from a first line above rows of numbers; None if there is no such line."""
    names, others = tuple(rows[0].cells), rows[1:]
    are_names = all(names) and len(set(names)) == len(names) and not any(map(_is_value, names))
    if not others or not are_names or {len(row.cells) for row in others} != {len(names)}:
        return None
    return names if all(map(_are_values, others)) else None


def _are_values(row: Row) -> bool:
    return not row.is_quoted and all(map(_is_value, row.cells))


def _is_value(text: str) -> bool:
    return text in _BITS or is_number(text) or text.lower() in _BITS


def _matrix(path: Path, rows: list[Row]) -> NDArray[np.uint8]:
    """0 or 1 for each class, uint8 [n, n_classes]."""
    width = len(rows[0].cells)
    for row in rows:
        if len(row.cells) != width:
            _refuse(
                path,
                row,
                f"{len(row.cells)} columns, but {width} in line {rows[0].line}: write 0 or 1 for "
                "the same classes in every line",
            )
    bits = {text: _bit(text) for text in set(chain.from_iterable(row.cells for row in rows))}
    if None in bits.values():
        row = next(row for row in rows if any(bits[text] is None for text in row.cells))
        text = next(text for text in row.cells if bits[text] is None)
        _refuse(
            path,
            row,
            f"{shown(text)} among {width} columns: write 1 where the image has the class and 0 "
            "where it does not, or one class number per line",
        )
    values = chain.from_iterable(map(bits.__getitem__, row.cells) for row in rows)
    return np.fromiter(values, np.uint8, width * len(rows)).reshape(len(rows), width)


def _bit(text: str) -> int | None:
    number = _BITS.get(text.lower(), whole_number(text))
    return number if number in (0, 1) else None


def _phrase(path: Path, row: Row) -> str:
    """A row of words as one name."""
    if len(row.cells) == 1:
        return row.cells[0]
    if is_number(row.cells[0]) and "#" in row.text:
        _refuse(path, row, f"{shown(row.text)}: a comment is a line of its own")
    if row.is_quoted or Path(row.cells[0]).suffix.lower() in _IMAGES:
        _refuse(path, row, f"{len(row.cells)} columns, {shown(row.text)}: save the labels alone")
    return row.text


def _names(path: Path, rows: list[Row], names: list[str]) -> Labelled:
    """Labels from class names; ``-1`` among them is unknown."""
    plain: dict[str, Row] = {}
    for row, name in zip(rows, names, strict=True):
        if not row.is_quoted and name != "-1":
            plain.setdefault(name, row)
    for name, row in plain.items():
        if name.lower() in _UNKNOWN:
            _refuse(path, row, f"{shown(name)}: write -1 where the label is unknown")
    if len(plain) == len(set(names) - {"-1"}) and not _have_letters(plain):
        name, row = next(iter(plain.items()))
        _refuse(path, row, f"{shown(name)}: put names without letters in double quotes")
    number = next((name for name in plain if is_number(name)), None)
    if number is not None:
        _refuse(
            path,
            plain[number],
            f"the number {shown(number)} among class names: remove the heading, if the first line "
            "is one, or put this name in double quotes",
        )
    return number_classes(names)


def _have_letters(names: Iterable[str]) -> bool:
    return any(character.isalpha() for name in names for character in name)


def _refuse(path: Path, row: Row, found: str) -> NoReturn:
    raise CodesError(f"{path}, line {row.line}: expected {_EXPECTED}, found {found}")
