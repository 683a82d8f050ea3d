"""Labels in arrays of NumPy and MATLAB: numbers, a 0/1 matrix, or class names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.formats.class_names import number_classes
from hashkit.inputs.label_values import as_label_array

__all__ = ["labels_of_array", "texts_of_array"]


def labels_of_array(
    labels: NDArray[Any], class_names: tuple[str, ...] = ()
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Labels as integers [n] or a matrix [n, n_classes], with their class names.

    A matrix of one column is a vector, as MATLAB saves one; class names are numbered in
    alphabetical order.

    Raises
    ------
    CodesError
        If the values are not labels.
    """
    if labels.dtype.kind in "US" and labels.ndim == 1:
        return number_classes(texts_of_array(labels, "labels"))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    return as_label_array(labels), class_names


def texts_of_array(values: NDArray[Any], name: str) -> list[str]:
    """Texts of a one-dimensional array of text, or of bytes in UTF-8.

    Raises
    ------
    CodesError
        If the values are not text.
    """
    if values.dtype.kind not in "US" or values.ndim != 1:
        raise CodesError(f"{name} must be text [n], not {values.dtype} {list(values.shape)}")
    if values.dtype.kind == "S":
        try:
            values = np.char.decode(values, "utf-8")
        except UnicodeDecodeError as error:
            raise CodesError(f"{name} must be text in UTF-8 ({error.reason})") from None
    return [str(value) for value in values]
