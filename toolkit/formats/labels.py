"""Reads files of labels, one label per code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hashkit.codesets import check_labels
from hashkit.errors import CodesError
from hashkit.formats.format import naming
from hashkit.formats.label_arrays import labels_of_array, texts_of_array
from hashkit.formats.label_text import read_label_text
from hashkit.formats.matlab import SIGNATURE, read_mat
from hashkit.inputs.arrays import NPY_SIGNATURE, read_npy, read_npz
from hashkit.inputs.opening import open_file
from hashkit.inputs.text import shown

__all__ = ["load_labels"]

_ZIP: Final = b"PK\x03\x04"
_MAX_NAMED: Final = 5


def load_labels(path: str | os.PathLike[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Read a file with one label per code: text, a NumPy array, or a MATLAB array.

    The content of the file determines which it is.

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
    path = Path(path)
    start = _start(path)
    if start.startswith(NPY_SIGNATURE):
        return _of_array(path, read_npy(path, CodesError), ())
    if start.startswith(SIGNATURE):
        return _of_array(path, _only_variable(path, read_mat(path)), ())
    if start.startswith(_ZIP):
        arrays, names = read_npz(path, ("labels", "class_names"), CodesError)
        if "labels" not in arrays:
            raise CodesError(
                f"{path}: expected an array named labels, found "
                f"{', '.join(map(shown, names[:_MAX_NAMED])) or 'no arrays'}"
            )
        class_names = arrays.get("class_names")
        names = [] if class_names is None else texts_of_array(class_names, "class_names")
        return _of_array(path, arrays["labels"], tuple(names))
    return read_label_text(path)


def _only_variable(path: Path, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """The variable ``labels`` of a MATLAB file, or its only one."""
    if "labels" in arrays or len(arrays) == 1:
        values = arrays["labels"] if "labels" in arrays else next(iter(arrays.values()))
        return values.T if values.ndim == 2 and len(values) == 1 else values  # a row is a vector
    found = ", ".join(map(shown, list(arrays)[:_MAX_NAMED])) or "none"
    raise CodesError(
        f"{path}: expected one variable of numbers, or one that is named labels, found {found}: "
        "save it alone, `save('labels.mat', 'labels')`"
    )


def _of_array(
    path: Path, array: NDArray[Any], class_names: tuple[str, ...]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    with naming(path):
        labels, class_names = labels_of_array(array, class_names)
        return check_labels(labels, len(labels)), class_names


def _start(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(8)
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror})") from None
