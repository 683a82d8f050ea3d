"""Reads files of labels: one line per code.

A line is an integer; or 0 or 1 for each class (``0 1 1``, ``0,1,1`` or ``011``); or else a class
name. Integers have no leading zeros. So lines that contain only 0 and 1, have the same length above
1, and include one that begins with 0, are read as a matrix.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.formats.lines import read_lines

__all__ = ["load_labels", "number_classes"]


def load_labels(path: str | os.PathLike[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read a file with one label per line.

    Returns
    -------
    tuple
        (labels, class_names): int64 [n] or uint8 [n, n_classes], and, if the lines are names, the
        names by label in alphabetical order.

    Raises
    ------
    CodesError
        If the file cannot be read or its lines differ in kind.
    """
    path = Path(path)
    lines = [line.strip() for line in read_lines(path)]
    if all(_is_number(line) for line in lines):
        return np.array([int(line) for line in lines], dtype=np.int64), ()
    cells = [line.replace(",", " ").split() for line in lines]
    if all(len(row) == 1 for row in cells):
        cells = [list(row[0]) for row in cells]
    if all(set(row) <= {"0", "1"} for row in cells):
        widths = sorted({len(row) for row in cells})
        if len(widths) > 1:
            raise CodesError(
                f"{path}: expected 0 or 1 for the same classes in every line, "
                f"found lines of {widths[0]} to {widths[-1]} classes"
            )
        return np.array(cells).astype(np.uint8), ()
    return number_classes(lines)


def number_classes(
    class_of_row: Sequence[str] | NDArray[np.str_],
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Convert class names of rows to labels, int64 [n], and class names in alphabetical order."""
    class_names, labels = np.unique(np.asarray(class_of_row), return_inverse=True)
    return labels.astype(np.int64), tuple(class_names.tolist())


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")
