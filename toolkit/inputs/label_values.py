"""Labels as arrays of one kind, from the kinds that programs use for them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CodesError
from hashkit.inputs.masks import unmasked

__all__ = ["as_label_array"]

_SIGNED: Final = {1: np.int16, 2: np.int32, 4: np.int64, 8: np.int64}
"""Signed integers that hold the values of unsigned ones, by their bytes; for 8, if they fit."""

_LARGEST_EXACT: Final = 2**53
"""Beyond it a float may stand for several integers."""


def as_label_array(labels: object) -> NDArray[Any]:
    """Labels as signed integers [n], or as a 0/1 matrix [n, n_classes] in its own integer type.

    Takes integers of any width and byte order, unsigned ones and bools, floats without a fraction,
    and lists of these. The values of a matrix are not compared with 0 and 1. Arrays of signed
    integers and matrices of integers are returned as they are.

    Raises
    ------
    CodesError
        If they are of another type, shape or range.
    """
    labels = unmasked(labels, "labels")
    array = labels if isinstance(labels, np.ndarray) else _from_list(labels)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise CodesError(
            "labels must be integers [n] or a 0/1 matrix [n, n_classes], "
            f"not {array.dtype} {list(array.shape)}"
        )
    if array.dtype.kind == "f":
        return _from_floats(array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.ndim == 2 or array.dtype.kind == "i":
        return array
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    if array.dtype.itemsize == 8 and array.size and array.max() > np.iinfo(np.int64).max:
        raise CodesError(f"labels must fit 64 bits with a sign, found {array.max()}")
    return array.astype(_SIGNED[array.dtype.itemsize])


def _from_list(labels: object) -> NDArray[Any]:
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError, OverflowError):
        raise CodesError(
            "labels must be integers [n] or a 0/1 matrix [n, n_classes], "
            f"not a {type(labels).__name__} with rows of different lengths"
        ) from None
    if array.ndim == 1 and not array.size:
        return np.empty(0, np.int64)
    return array


def _from_floats(array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.itemsize < 8:  # too small for the bound
        return _from_floats(array.astype(np.float64))
    is_whole = np.isfinite(array) & (np.abs(array) <= _LARGEST_EXACT) & (array == np.floor(array))
    if not is_whole.all():
        wrong = array[~is_whole].flat[0]
        raise CodesError(
            f"labels must be integers, not {array.dtype} with values such as {wrong:g}: a class "
            "number is whole, and -1 where the label is unknown"
        )
    return array.astype(np.int64)
