"""The entries of a slice file: one image per line, as a JSON array.

=============================  ===================================================================
``["cats/1.jpg"]``             name
``["cats/1.jpg", 3]``          name and label, -1 where it is unknown
``["cats/1.jpg", [0, 4]]``     name and classes, of an image that may have several
``[name, label, 7, 512, 90]``  the same of an image in a container: number of the file, and two
                               numbers that say where in it; the label is null if there is none
=============================  ===================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.header import LabelKind
from hashkit.errors import DatasetError
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.schema import value_from

__all__ = [
    "BLOCK",
    "REMEDY",
    "Label",
    "Listed",
    "blocks_of",
    "labels_of",
    "lines_of",
    "parse_lines",
]

BLOCK: Final = 10_000
"""Entries that are read, checked and written together."""

Label: TypeAlias = int | str | tuple[int, ...] | None
"""A label, the name of a class that has no number yet, several classes, or none."""

T = TypeVar("T")


class Listed(NamedTuple):
    """An image of a list.

    Attributes
    ----------
    name
        Its name in the bank.
    label
        Its label; all images of a list have the same kind.
    place
        Number of the container, and two numbers that say where in it; None for files.
    """

    name: str
    label: Label = None
    place: tuple[int, int, int] | None = None


def blocks_of(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of up to `BLOCK` items."""
    left = iter(items)
    while block := list(islice(left, BLOCK)):
        yield block


def lines_of(entries: Iterable[Listed]) -> list[bytes]:
    """The lines of entries, each with its line break.

    Raises
    ------
    UnicodeEncodeError
        If a name is not Unicode text.
    """
    return [_line(entry) for entry in entries]


def parse_lines(lines: Sequence[bytes], where: str) -> list[Listed]:
    """The entries of lines that `lines_of` wrote.

    Raises
    ------
    DatasetError
        If they are damaged; ``where`` names them.
    """
    rows = parse_json(b"[" + b",".join(lines) + b"]", where, DatasetError, remedy=REMEDY)
    checked = value_from(
        list[_Row], rows, name=where, error=DatasetError, remedy=REMEDY
    )  # a tuple of each length
    return [_entry(row) for row in checked]


def labels_of(
    entries: Sequence[Listed], kind: LabelKind, n_classes: int, where: str
) -> NDArray[Any] | None:
    """Labels of entries: int64 [n], uint8 [n, n_classes], or None, by their kind.

    Raises
    ------
    DatasetError
        If an entry has a label of another kind, or a class beyond ``n_classes``.
    """
    if kind == "none":
        return None
    labels = [entry.label for entry in entries]
    if kind == "single":
        if all(type(label) is int and -1 <= label < n_classes for label in labels):
            return np.array(labels, np.int64)
    else:
        multi = np.zeros((len(entries), n_classes), np.uint8)
        for row, label in zip(multi, labels, strict=True):
            if not isinstance(label, tuple) or not all(0 <= one < n_classes for one in label):
                break
            row[list(label)] = 1
        else:
            return multi
    raise DatasetError(
        f"{where}: expected {kind} labels of {n_classes} classes, found another label: {REMEDY}"
    )


REMEDY: Final = "remove this file, and run the same command again"
"""What to do about a damaged slice file."""

_Row: TypeAlias = (
    tuple[str]
    | tuple[str, int | str | list[int] | None]
    | tuple[str, int | str | list[int] | None, int, int, int]
)


def _line(entry: Listed) -> bytes:
    row: list[object] = [entry.name]
    if entry.label is not None or entry.place is not None:
        row.append(entry.label)
    row += entry.place or ()
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _entry(row: Sequence[Any]) -> Listed:
    label = row[1] if len(row) > 1 else None
    place = (row[2], row[3], row[4]) if len(row) > 2 else None
    return Listed(row[0], tuple(label) if isinstance(label, list) else label, place)
