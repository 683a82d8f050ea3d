"""Reads the pickles of CIFAR without running code from them.

A pickle is a program that can call any function it names. Here only the names for building a
NumPy array, NumPy's dtype and the encoding of text are allowed. Each is replaced by a stand-in
that only stores values, so no outside function is called, not even NumPy's.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import DatasetError
from hashkit.inputs.text import shown

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
    try:
        values = _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except DatasetError as error:
        raise DatasetError(f"{name}: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise DatasetError(
            f"{name}: the file is damaged or truncated ({type(error).__name__}); download it again"
        ) from None
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


_PERMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle._Unpickler):
    # The one in Python: the compiled one takes memory for every number up to the largest that a
    # file gives to an object, 64 GiB for a file of eight bytes.
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _PERMITTED[module, name]
        except KeyError:
            called = shown(f"{module}.{name}")
            raise DatasetError(
                f"refused, because this pickle calls {called}, which no image set needs; "
                "download the file again from its official source"
            ) from None


def _to_array(array: _Array, name: str) -> NDArray[np.uint8]:
    try:
        _, shape, dtype, is_fortran, data = array.state
        if dtype.code not in ("u1", "uint8") or len(data) != math.prod(shape):
            raise ValueError
        pixels = np.frombuffer(data, dtype=np.uint8)
        return pixels.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, TypeError, AttributeError):
        raise DatasetError(f"{name}: expected uint8 arrays; the file is damaged") from None
