"""Prepares arrays for kernels; does not import Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_only"]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Read-only view, as a plain ``numpy.ndarray``, of an array in memory or mapped from a file.

    A kernel is compiled for each type of array that it is called with, and whether the array is
    writable is part of the type.
    """
    if type(array) is np.ndarray and not array.flags.writeable:
        return array
    view = array.view(np.ndarray)
    view.setflags(write=False)
    return view
