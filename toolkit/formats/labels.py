"""Reads files of labels, one label per code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hashkit.formats.label_text import read_label_text

__all__ = ["load_labels"]


def load_labels(path: str | os.PathLike[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read a file with one label per code: text.

    Returns
    -------
    tuple
        (labels, class_names): int64 [n], -1 where unknown; or uint8 [n, n_classes]; and, if the
        file has them, the class names by label.

    Raises
    ------
    CodesError
        If the file cannot be read, its labels differ in kind, or it has two possible meanings.
    """
    return read_label_text(Path(path))
