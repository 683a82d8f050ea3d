"""Arrays as kernels take them; this module needs no Numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_only"]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view, of NumPy's own class, of an array in memory or mapped from a file.

    Kernels are compiled anew for each type of array that they are called with, and whether it may
    be written to is part of the type.
    """
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view
