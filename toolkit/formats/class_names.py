"""Labels from class names: numbers in alphabetical order of the names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["number_classes"]

_UNKNOWN: Final = "-1"
"""Stands for an unknown label among class names."""


def number_classes(class_of_row: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Convert class names of rows to labels, int64 [n], and class names in alphabetical order.

    The name ``-1`` is not a class: its rows get the label -1, unknown.
    """
    class_names = sorted(set(class_of_row) - {_UNKNOWN})
    numbers = {name: number for number, name in enumerate(class_names)} | {_UNKNOWN: -1}
    labels = np.array([numbers[name] for name in class_of_row], dtype=np.int64)
    return labels, tuple(class_names)
