"""Reads the pickles of CIFAR: dictionaries of numbers, text, lists and uint8 arrays.

Only the names for building a NumPy array, NumPy's dtype and the encoding of text are permitted.
Each is replaced by a stand-in that only stores values, so no outside function is called, not even
NumPy's.
"""

from __future__ import annotations

import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import DatasetError
from hashkit.inputs.pickles import PermittedNames, read_pickle

__all__ = ["read_plain_pickle"]


def read_plain_pickle(data: bytes, name: str) -> dict[str, Any]:
    """Read a pickled dictionary of numbers, text, lists and uint8 arrays.

    Parameters
    ----------
    data
        The pickle, of any protocol; text of Python 2 becomes ``bytes``.
    name
        The file's name for error messages.

    Returns
    -------
    dict
        Values by text key; arrays are uint8 `numpy.ndarray`.

    Raises
    ------
    DatasetError
        If the pickle is damaged, names any other function, or is not a dictionary.
    """
    values = read_pickle(
        io.BytesIO(data),
        name,
        _PERMITTED,
        error=DatasetError,
        needed_by="image set",
        fix="download it again from its official source",
        encoding="bytes",
    )
    if not isinstance(values, dict):
        raise DatasetError(f"{name}: expected a pickled dictionary, found {type(values).__name__}")
    return {
        _to_text(key, name): _to_array(value, name) if isinstance(value, _Array) else value
        for key, value in values.items()
    }


def _to_text(key: object, name: str) -> str:
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    if isinstance(key, str):
        return key
    raise DatasetError(
        f"{name}: expected text as keys, found {type(key).__name__}; download the file again"
    )


class _Dtype:
    """Stand-in for `numpy.dtype`; stores the type code, for example ``u1``."""

    def __init__(self, code: bytes | str, *_: object) -> None:
        self.code = code.decode() if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        pass  # byte order and alignment, which do not matter for single bytes


class _Array:
    """Stand-in for `numpy.ndarray`; stores the state: version, shape, dtype, order, data."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("ascii" if encoding == "ascii" else "latin1")


_PERMITTED: Final[PermittedNames] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


def _to_array(array: _Array, name: str) -> NDArray[np.uint8]:
    try:
        _, shape, dtype, is_fortran, data = array.state
        if dtype.code not in ("u1", "uint8") or len(data) != math.prod(shape):
            raise ValueError
        pixels = np.frombuffer(data, dtype=np.uint8)
        return pixels.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, TypeError, AttributeError):
        raise DatasetError(f"{name}: expected uint8 arrays; the file is damaged") from None
