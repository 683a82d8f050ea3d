"""Reads weights that torch saved, without torch and without running code from them.

torch.save's first format, that of files from before torch 1.6, is a sequence of pickles: a magic
number, the version, the byte order, the tensors by name, and the keys of their storages. The
storages follow in the order of the keys, each as its number of values and the values.
"""

from __future__ import annotations

import dataclasses
import io
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import HashkitError
from hashkit.inputs.pickles import read_pickle

__all__ = ["read_torch_weights"]

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_DTYPES: Final = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_torch_weights(
    data: bytes, name: str, *, error: type[HashkitError], fix: str
) -> dict[str, NDArray[Any]]:
    """Tensors by name from a file of torch's first format.

    Parameters
    ----------
    data
        The file.
    name
        The file's name for messages.
    error
        The exception to raise.
    fix
        For messages: how to get a good file.

    Returns
    -------
    dict
        Arrays, float32 or int64, in the order of the file; they are read-only views of
        ``data``, not necessarily contiguous.

    Raises
    ------
    HashkitError
        If the file is damaged, of another format, or holds anything but such tensors.
    """
    reader = _Reader(data, name, error, fix)
    reader.check_header()
    tensors = reader.pickle()
    keys = reader.pickle()
    if not isinstance(tensors, _Ordered) or not isinstance(keys, list):
        raise reader.fault("expected tensors by name, and the keys of their storages")
    storages = {}
    for key in keys:
        storages[key] = reader.storage(key)
    return {str(key): reader.array(tensor, storages) for key, tensor in tensors.items()}


class _Ordered(dict[Any, Any]):
    """Stand-in for ``collections.OrderedDict``; its state, versions of modules, is not needed."""

    def __setstate__(self, state: object) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Stand-in for a storage: numbers that one or more tensors use."""

    key: str
    dtype: np.dtype[Any]
    n_values: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Stand-in for a tensor; offset and strides count values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


_PERMITTED: Final = {
    ("collections", "OrderedDict"): _Ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    **{("torch", kind): dtype for kind, dtype in _DTYPES.items()},
}


class _Reader:
    """A file of torch's first format, read from its start to its end."""

    def __init__(self, data: bytes, name: str, error: type[HashkitError], fix: str) -> None:
        self._data, self._name, self._error, self._fix = data, name, error, fix
        self._stream = io.BytesIO(data)
        self._storages: dict[str, _Storage] = {}

    def fault(self, found: str) -> HashkitError:
        """An error about this file, to raise."""
        return self._error(f"{self._name}: {found}; {self._fix}")

    def pickle(self) -> Any:
        """The next pickle."""
        return read_pickle(
            self._stream,
            self._name,
            _PERMITTED,
            error=self._error,
            needed_by="file of weights",
            fix=self._fix,
            resolve=self._resolve,
        )

    def check_header(self) -> None:
        """Raise unless the first three pickles are those of the format."""
        if self._data[:2] == b"PK":
            raise self.fault("expected weights in torch's first format, found a zip archive")
        if self.pickle() != _MAGIC or self.pickle() != _VERSION:
            raise self.fault("expected weights in torch's first format, found another pickle")
        system = self.pickle()
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise self.fault("expected weights in little-endian byte order")

    def _resolve(self, reference: tuple[Any, ...]) -> _Storage:
        """The storage that a persistent id refers to."""
        kind, dtype, key, _, n_values, view = reference
        if kind != "storage" or not isinstance(dtype, np.dtype) or view is not None:
            raise ValueError
        return self._storages.setdefault(key, _Storage(key, dtype, n_values))

    def storage(self, key: Any) -> NDArray[Any]:
        """The values of the next storage, whose key is given."""
        storage = self._storages.get(key) if isinstance(key, str) else None
        header = self._stream.read(8)
        count = int.from_bytes(header, "little")
        start = self._stream.tell()
        if (
            storage is None
            or len(header) != 8
            or count != storage.n_values
            or count * storage.dtype.itemsize > len(self._data) - start
        ):
            raise self.fault("the storages are damaged or truncated")
        self._stream.seek(count * storage.dtype.itemsize, io.SEEK_CUR)
        return np.frombuffer(self._data, storage.dtype, count, start)

    def array(self, tensor: Any, storages: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """The values of a tensor: a view of its storage."""
        try:
            values = storages[tensor.storage.key]
            if math.prod(tensor.shape) > len(values):  # a stride of 0 repeats values
                raise ValueError
            n_bytes = values.itemsize
            return np.ndarray(  # checks the limits of the buffer
                tensor.shape,
                values.dtype,
                buffer=values,
                offset=tensor.offset * n_bytes,
                strides=tuple(stride * n_bytes for stride in tensor.strides),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            raise self.fault("a tensor is damaged, or more than its storage") from None
