"""Writes NumPy arrays piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hashkit.meter import Meter

__all__ = ["write_array"]


def write_array(
    file: IO[bytes],
    dtype: DTypeLike,
    shape: tuple[int, ...],
    pieces: Iterable[NDArray[Any]],
    meter: Meter | None,
) -> None:
    """Write an array in NumPy's format, with only one piece of its rows in memory at a time."""
    dtype = np.dtype(dtype)
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in pieces:
        file.write(np.ascontiguousarray(piece, dtype=dtype).tobytes())
        if meter is not None:
            meter.add(len(piece))
