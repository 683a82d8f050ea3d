"""The lines of a list file: paths and labels, separated by spaces, or as a table with delimiters.

Spaces are the usual form, ``images/my cat.jpg 3``. Tables, ``"images/my cat.jpg",3``, are what
spreadsheets and pandas write. A comma may also be part of a path, so the form is the one with which
more of the first paths are existing files, and the usual one if there is no difference. Spaces
around a path are part of it if there is such a file: they are in RFC 4180, but many programs only
write them for looks.
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from hashkit.errors import DatasetError
from hashkit.inputs.numbers import whole_number
from hashkit.inputs.text import shown

__all__ = ["MAX_CLASSES", "N_PROBED", "Entry", "ListParser", "existing_path"]

MAX_CLASSES: Final = 1_000_000
N_PROBED: Final = 20
"""Number of images at the start of a list whose files are looked for."""

_DELIMITERS: Final = ",;\t"
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_HEADINGS: Final = frozenset(
    {"file", "filename", "file_name", "filepath", "file_path", "files", "image", "image_name"}
    | {"image_path", "images", "img", "name", "path", "paths"}
)
_EXPECTED: Final = "a path and its labels, `images/1.jpg 3`"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One line: its number, the path, and its labels as decimal integers."""

    line: int
    path: str
    labels: Sequence[str]


class ListParser:
    """Splits the numbered lines of one list, of any length, into paths and labels.

    Parameters
    ----------
    path
        The list, for messages.
    probed
        The first `N_PROBED` lines, by which the form of all is recognised; `entries` gets them
        again.
    exists
        Whether a listed path is a file.

    Attributes
    ----------
    n_columns
        Labels of each line; known when the first entry was given.
    class_names
        The heading of several columns of labels; empty if there is none.
    """

    def __init__(
        self, path: Path, probed: Sequence[tuple[int, str]], exists: Callable[[str], bool]
    ) -> None:
        self._path, self._exists = path, exists
        self._delimiter = _delimiter([line for _, line in probed[:N_PROBED]], exists)
        self._written: set[str] = set()
        self.n_columns = 0
        self.class_names: tuple[str, ...] = ()

    def entries(self, lines: Iterable[tuple[int, str]]) -> Iterator[Entry]:
        """The entries of all lines in order, without a heading.

        Raises
        ------
        DatasetError
            If a line is malformed or differs from the lines before, with its number.
        """
        yield from self._of_table(lines) if self._delimiter else self._of_spaced(lines)
        _refuse_joined(self._path, self._written)

    def _of_spaced(self, lines: Iterable[tuple[int, str]]) -> Iterator[Entry]:
        n_columns = -1
        for number, line in lines:
            if n_columns < 0:
                self.n_columns = n_columns = len(_split(line)[1])
            where = f"{self._path}, line {number}"
            listed, *labels = line.rsplit(None, n_columns) if n_columns else [line]
            is_label_left = _is_label(listed.rsplit(None, 1)[-1])
            if len(labels) != n_columns or is_label_left or not all(map(_is_label, labels)):
                n_found = len(_split(line)[1])
                if n_found == len(line.split()):
                    raise DatasetError(
                        f"{where}: expected a path before the labels, found {shown(line)}"
                    )
                raise DatasetError(
                    f"{where}: expected {n_columns} label columns, as in the lines before, found "
                    f"{n_found}"
                )
            self._written.update(labels)
            yield Entry(number, existing_path(listed, self._exists), _checked(labels, where))

    def _of_table(self, lines: Iterable[tuple[int, str]]) -> Iterator[Entry]:
        n_columns = -1
        for number, line in lines:
            where = f"{self._path}, line {number}"
            listed, *labels = _cells(line, self._delimiter, self._exists)
            if n_columns < 0:
                self.n_columns = n_columns = len(labels)
                if not self._exists(listed) and _is_heading(listed, labels):
                    self.class_names = tuple(labels) if n_columns > 1 else ()
                    continue
            if len(labels) != n_columns or not listed:
                raise DatasetError(
                    f"{where}: expected a path and {n_columns} columns of labels, as in the first "
                    f"line, found {shown(line)}"
                )
            wrong = next((label for label in labels if not _is_label(label)), None)
            if wrong is not None:
                raise DatasetError(
                    f"{where}: expected {_EXPECTED}, with labels as numbers from 0, found "
                    f"{shown(wrong)} in {shown(line)}"
                )
            self._written.update(labels)
            yield Entry(number, listed, _checked(labels, where))


def _delimiter(probed: Sequence[str], exists: Callable[[str], bool]) -> str:
    """The delimiter of a table by its first lines; empty for paths and labels with spaces."""
    best, delimiter = sum(exists(existing_path(_split(line)[0], exists)) for line in probed), ""
    for candidate in (*_DELIMITERS, " "):
        cells = [_cells(line, candidate, exists) for line in probed]
        if any(len(row) > 1 for row in cells):
            n_found = sum(exists(row[0]) for row in cells)
            if n_found > best:
                best, delimiter = n_found, candidate
    return delimiter


def existing_path(written: str, exists: Callable[[str], bool]) -> str:
    """A path as it is written if it is a file, otherwise without spaces around it."""
    plain = written.strip()
    return written if written != plain and exists(written) else plain


def _split(line: str) -> tuple[str, list[str]]:
    """The path of a line without a delimiter, and the integers at its end."""
    tokens = line.split()
    n_labels = 0
    while n_labels < len(tokens) and _is_label(tokens[-1 - n_labels]):
        n_labels += 1
    if not n_labels or n_labels == len(tokens):
        return line, tokens[len(tokens) - n_labels :]
    listed, *labels = line.rsplit(None, n_labels)
    return listed, labels


def _cells(line: str, delimiter: str, exists: Callable[[str], bool]) -> list[str]:
    """The path and the labels of a line of a table."""
    try:
        (cells,) = csv.reader([line.rstrip()], delimiter=delimiter, skipinitialspace=True)
    except (csv.Error, ValueError):
        return [line]
    listed, *labels = cells or [""]
    if line.startswith(" ") and not line.lstrip().startswith('"'):
        n_spaces = len(line) - len(line.lstrip())
        listed = line[:n_spaces] + listed.lstrip()
    return [existing_path(listed, exists), *(label.strip() for label in labels)]


def _is_heading(listed: str, labels: Sequence[str]) -> bool:
    return listed.lower() in _HEADINGS and not any(map(_is_label, labels))


def _is_label(token: str) -> bool:
    return _INTEGER.fullmatch(token) is not None or whole_number(token) is not None


def _refuse_joined(path: Path, written: set[str]) -> None:
    """Refuse 0 and 1 per class without spaces, such as ``011``, which would count as numbers."""
    digits = written - {"-1"}
    joined = sorted(label for label in digits if len(label) > 1 and label.startswith("0"))
    one_width = len({len(label) for label in digits}) == 1
    if joined and one_width and set("".join(digits)) <= {"0", "1"}:
        raise DatasetError(
            f"{path}: expected one class number, or 0 or 1 for each class with spaces between, "
            f"found {shown(joined[0])}: write `{' '.join(joined[0])}`, or numbers without leading 0"
        )


def _checked(labels: Sequence[str], where: str) -> Sequence[str]:
    """Labels as decimal integers: one class number or -1, or 0 and 1."""
    if set(labels) <= {"0", "1"}:
        return labels
    numbers = [whole_number(label) for label in labels]
    if len(numbers) == 1:
        if numbers[0] is None or not -1 <= numbers[0] < MAX_CLASSES:
            raise DatasetError(
                f"{where}: expected a label from 0 to {MAX_CLASSES - 1}, or -1 where it is "
                f"unknown, found {shown(labels[0])}"
            )
    elif not set(numbers) <= {0, 1}:
        wrong = next(
            label for label, number in zip(labels, numbers, strict=True) if number not in (0, 1)
        )
        raise DatasetError(
            f"{where}: expected columns of 0 or 1, one per class, found {shown(wrong)}; "
            "a list of single labels has one column"
        )
    return [str(number) for number in numbers]
