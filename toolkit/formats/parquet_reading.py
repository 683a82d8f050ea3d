"""Reads codes from Parquet files of hashkit and of other programs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.attributes import header_of
from hashkit.bank.names import StoredNames
from hashkit.codes import check_codes
from hashkit.errors import CodesError, HashkitError
from hashkit.formats.class_names import number_classes
from hashkit.formats.origin import Origin, StoredCodes
from hashkit.formats.parquet_columns import ParquetColumns
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import check_file, size_on_disk
from hashkit.inputs.pyarrow_import import load_pyarrow
from hashkit.inputs.schema import dataclass_from
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["PREFIX", "ParquetNames", "read_parquet"]

PREFIX: Final = "hashkit."
"""Prefix of the keys of hashkit's metadata."""


_PROGRESS: Final = ("n_consumed", "is_complete")


@dataclasses.dataclass(frozen=True)
class _Progress:
    """Metadata on how far a list of images was encoded."""

    n_consumed: int
    is_complete: bool


def read_parquet(path: Path, n_bits: int | None) -> StoredCodes:
    """Read codes and labels into memory; names are read from the file on access.

    Parameters
    ----------
    n_bits
        Number of bits of a code, for files that do not contain it; by default all bits of the
        bytes.

    Raises
    ------
    CodesError
        If the file cannot be read, or its codes do not have ``n_bits`` bits.
    MissingExtraError
        If pyarrow is not installed.
    """
    pyarrow = load_pyarrow()
    try:
        check_file(path)
    except FileNotFoundError:
        raise CodesError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CodesError(f"{path}: cannot be read ({error.strerror})") from None
    with _readable(path):
        columns = ParquetColumns(pyarrow, path)
        origin = _origin(columns.schema.metadata or {})
        return _codes(pyarrow, path, columns, n_bits, origin)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn all errors of a damaged file into a CodesError."""
    try:
        yield
    except HashkitError as error:
        raise CodesError(f"{path}: {error}") from None
    except TooLargeError as error:
        raise CodesError(f"{path}: {error.strerror}") from None
    except Exception as error:  # pyarrow raises its own kinds, OSError, ValueError and others
        raise CodesError(
            f"{path}: cannot be read as a Parquet file ({foreign_message(error)})"
        ) from None


class ParquetNames(StoredNames):
    """Names of a file's rows, read on access, one row group at a time."""

    def __init__(self, path: Path, columns: ParquetColumns) -> None:
        self._path, self._columns = path, columns
        self._starts = np.concatenate([[0], np.cumsum(columns.group_sizes, dtype=np.int64)])
        self._group, self._names = -1, None

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[str]:
        return self._decoded(0, len(self))

    def _read(self, start: int, stop: int) -> list[str]:
        return list(self._decoded(start, stop))

    def _decoded(self, start: int, stop: int) -> Iterator[str]:
        while start < stop:
            group = int(np.searchsorted(self._starts, start, side="right")) - 1
            first, end = int(self._starts[group]), min(stop, int(self._starts[group + 1]))
            part = self._names_of(group).slice(start - first, end - start)
            with _readable(self._path):
                names = part.to_pylist()
            for name in names:
                yield "" if name is None else str(name)
            start = end

    def _names_of(self, group: int) -> Any:
        if group != self._group:
            with _readable(self._path):
                self._names = self._columns.read("name", group)
            self._group = group
        return self._names


def _codes(
    pyarrow: Any, path: Path, columns: ParquetColumns, n_bits: int | None, origin: Origin | None
) -> StoredCodes:
    schema = columns.schema
    if "code" not in schema.names:
        raise CodesError(f"expected a column named code, found {', '.join(schema.names) or 'none'}")
    codes = _code_column(pyarrow, path, columns)
    stored_bits = None if origin is None else origin.header.n_bits
    if n_bits is not None and stored_bits not in (None, n_bits):
        raise CodesError(f"expected codes of {n_bits} bits, found {stored_bits}")
    bits = stored_bits or n_bits or 8 * codes.shape[1]
    class_names = () if origin is None else origin.header.class_names
    labels: NDArray[Any] | None = None
    if "label" in schema.names:
        labels, class_names = _single(pyarrow, columns, class_names)
    elif "labels" in schema.names:
        labels = _multi(pyarrow, path, columns, len(class_names))
    names = ParquetNames(path, columns) if "name" in schema.names else ()
    return StoredCodes(check_codes(codes, bits), bits, labels, names, class_names, None, origin)


def _code_column(pyarrow: Any, path: Path, columns: ParquetColumns) -> NDArray[np.uint8]:
    """Codes, uint8 [n, size], read one row group at a time."""
    kind, types = columns.schema.field("code").type, pyarrow.types
    is_fixed = types.is_fixed_size_binary(kind)
    if not (is_fixed or types.is_binary(kind) or types.is_large_binary(kind)):
        raise CodesError(f"expected the column code to be binary, found {kind}")
    codes: NDArray[np.uint8] | None = None
    done, size = 0, 0
    for group in range(len(columns.group_sizes)):
        column = columns.read("code", group)
        if column.null_count:
            raise CodesError(f"expected a code in each row, found {column.null_count} null rows")
        if not len(column):
            continue
        if codes is None:
            size = kind.byte_width if is_fixed else len(column[0].as_py())
            n_bytes = columns.n_rows * size
            check_limit(
                "array_bytes", n_bytes, "the column of codes", path, on_disk=size_on_disk(path)
            )
            codes = np.empty((columns.n_rows, size), dtype=np.uint8)
        column = column.cast(pyarrow.binary(size))  # refuses codes of different lengths
        values = np.frombuffer(column.buffers()[1], dtype=np.uint8)[column.offset * size :]
        codes[done : done + len(column)] = values[: len(column) * size].reshape(-1, size)
        done += len(column)
    if codes is None:
        return np.empty((0, kind.byte_width if is_fixed else 1), dtype=np.uint8)
    return codes


def _single(
    pyarrow: Any, columns: ParquetColumns, class_names: tuple[str, ...]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Labels, -1 where null, and the names of their classes."""
    column = columns.read("label")
    if pyarrow.types.is_integer(column.type):
        is_long = column.type.bit_width == 64 or column.type == pyarrow.uint32()
        column = column.cast(pyarrow.int64() if is_long else pyarrow.int32()).fill_null(-1)
        return column.to_numpy(zero_copy_only=False), class_names
    if not (pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type)):
        raise CodesError(f"expected labels to be integers or class names, found {column.type}")
    named = column.is_valid().to_numpy(zero_copy_only=False)
    labels = np.full(len(column), -1, dtype=np.int64)
    labels[named], class_names = number_classes(column.drop_null().to_pylist())
    return labels, class_names


def _multi(pyarrow: Any, path: Path, columns: ParquetColumns, n_classes: int) -> NDArray[np.uint8]:
    """Convert lists of class numbers to a 0/1 matrix [n, n_classes]."""
    column = columns.read("labels")
    types = pyarrow.types
    is_list = types.is_list(column.type) or types.is_large_list(column.type)
    if not is_list or not types.is_integer(column.type.value_type):
        raise CodesError(f"expected labels to be lists of integers, found {column.type}")
    classes = column.flatten().to_numpy(zero_copy_only=False)
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    n_classes = n_classes or int(classes.max(initial=-1)) + 1
    if classes.size and not 0 <= classes.min() <= classes.max() < n_classes:
        raise CodesError(
            f"expected class numbers from 0 to {n_classes - 1}, "
            f"found {classes.min()} to {classes.max()}"
        )
    check_limit("array_bytes", len(column) * n_classes, "the matrix of labels", path)
    labels = np.zeros((len(column), n_classes), dtype=np.uint8)
    labels[np.repeat(np.arange(len(column)), counts), classes] = 1
    return labels


def _origin(metadata: Mapping[bytes, bytes]) -> Origin | None:
    texts = {
        key.decode().removeprefix(PREFIX): value.decode()
        for key, value in metadata.items()
        if key.startswith(PREFIX.encode())
    }
    if "n_bits" not in texts:
        return None
    header, sources = header_of(texts)
    progress = dataclass_from(
        _Progress,
        {name: parse_json(texts.get(name, ""), name, CodesError) for name in _PROGRESS},
        name="its metadata",
        error=CodesError,
    )
    return Origin(header, sources, progress.n_consumed, progress.is_complete)
