"""Images in Parquet files: a column of bytes, or of structs with ``bytes`` and ``path``."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.list_lines import MAX_CLASSES
from hashkit.datasets.slices.containers import (
    Places,
    container_errors,
    container_names,
    image_errors,
)
from hashkit.datasets.slices.entries import Label, Listed
from hashkit.datasets.slices.listings import Listing
from hashkit.datasets.slices.plan import SourceFile
from hashkit.errors import DatasetError, ImageError
from hashkit.imaging.content import FileContent
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import check_file, size_on_disk
from hashkit.inputs.parquet_footer import read_column_sizes
from hashkit.inputs.pyarrow_import import load_pyarrow

__all__ = ["ParquetContents", "ParquetListing"]

_log = logging.getLogger(__name__)

_CONTAINER: Final = "a Parquet file"
_IMAGE: Final = "image"
_LABEL: Final = "label"
_BYTES: Final = "bytes"
_PATH: Final = "path"
_LIST_ROWS: Final = 1024
_ROW_BYTES: Final = 1024
_READ_ROWS: Final = 16
_READ_BYTES: Final = 1 << 28
"""Most bytes that may be decoded at once: a column may stand for more than it stores."""


class ParquetListing(Listing):
    """Several Parquet files with a column of images.

    Parameters
    ----------
    image_column
        The column of images; empty for ``image``, or the only one that can be.
    label_column
        The column of labels, whole numbers or names of classes; empty for ``label`` if there is
        one of that kind.
    """

    kind = "parquet"

    def __init__(
        self, images: Path, files: Sequence[Path], image_column: str, label_column: str
    ) -> None:
        super().__init__(images, None)
        self._files = files
        self._image_column, self._label_column = image_column, label_column

    def files(self) -> tuple[SourceFile, ...]:
        """The Parquet files."""
        return tuple(SourceFile.of(path) for path in self._files)

    def entries(self) -> Iterator[Listed]:
        """The rows in the order of the files."""
        names = container_names(self._files)
        for number, (path, name) in enumerate(zip(self._files, names, strict=True)):
            with container_errors(path, _CONTAINER):
                yield from self._entries_of(path, name, number)

    def _entries_of(self, path: Path, name: str, number: int) -> Iterator[Listed]:
        file = _ImageFile(path, self._image_column, self._label_column)
        file.check_rows()
        if file.columns.odd_label and not number:
            _log.warning(
                "%s: the column %s is left out: expected whole numbers or names of classes, found "
                "%s",
                path,
                _LABEL,
                file.columns.odd_label,
            )
        row = 0
        for group in range(file.n_groups):
            at = 0
            for stored, label in file.facts(group):
                own = f"{name}/{row}/{stored}" if stored else f"{name}/{row}"
                yield Listed(own, label, (number, group, at))
                row, at = row + 1, at + 1


class ParquetContents:
    """Images in Parquet files, read once each and more or less in order.

    Row groups are decoded from their beginning, so an image that is read again, or long before the
    others, costs as much as all images before it in its row group.
    """

    is_sequential = True

    def __init__(self, places: Places, image_column: str) -> None:
        self._places = places
        self._image_column = image_column
        self._lock = threading.Lock()
        self._rows_of_group = _rows_of_groups(places.where)
        self._read: dict[tuple[int, int, int], bytes | None] = {}
        self._reader: _GroupReader | None = None
        self._broken: dict[tuple[int, int], str] = {}

    def read(self, row: int) -> FileContent:
        """See `hashkit.datasets.imageset.Contents`."""
        number, group, at = self._places.where[row].tolist()
        file, name = self._places.files[number], self._places.names[row]
        with self._lock, image_errors(name):
            data = self._image_bytes(number, group, at)
        if data is None:
            raise ImageError(f"{name}: expected an image, found null", "missing")
        try:
            check_limit("image_bytes", len(data), "the file", name)
        except TooLargeError as error:
            raise ImageError(f"{name}: {error.strerror}", "too-large") from None
        return FileContent(name, data, file.mtime_ns)

    def subset(self, rows: NDArray[np.integer[Any]]) -> ParquetContents:
        """See `hashkit.datasets.imageset.Contents`."""
        return ParquetContents(self._places.subset(rows), self._image_column)

    def _image_bytes(self, number: int, group: int, at: int) -> bytes | None:
        """The bytes of one image; those of other images on the way are kept until their turn."""
        key = (number, group, at)
        if key in self._read:
            return self._read.pop(key)
        if (reason := self._broken.get((number, group))) is not None:
            raise DatasetError(reason)
        reader = self._reader
        if reader is None or (reader.number, reader.group) != key[:2] or reader.next_row > at:
            path = Path(self._places.files[number].path)
            with container_errors(path, _CONTAINER):
                reader = _GroupReader(path, self._image_column, number, group)
            reader.wanted = frozenset(self._rows_of_group[number, group].tolist())
            self._reader = reader
        try:
            with container_errors(reader.path, _CONTAINER):
                return self._read_until(reader, at)
        except DatasetError as error:
            self._broken[number, group] = str(error)
            raise

    def _read_until(self, reader: _GroupReader, at: int) -> bytes | None:
        for place, data in reader.images():
            if place == at:
                return data
            if place in reader.wanted:
                self._read[reader.number, reader.group, place] = data
        raise DatasetError(f"{reader.path}: expected row {at} of row group {reader.group}")


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Names of the columns, and whether that of images has structs.

    ``odd_label`` is the type of a column ``label`` whose values are not labels.
    """

    image: str
    is_struct: bool
    has_path: bool
    label: str | None
    odd_label: str = ""


class _ImageFile:
    """An open Parquet file with images."""

    def __init__(self, path: Path, image_column: str, label_column: str = "") -> None:
        self.path = path
        self._pyarrow = load_pyarrow()
        check_file(path)
        self._sizes = read_column_sizes(path)
        self._file = self._pyarrow.parquet.ParquetFile(path, pre_buffer=False)
        self.columns = _columns_of(
            self._pyarrow, self._file.schema_arrow, path, image_column, label_column
        )

    @property
    def n_groups(self) -> int:
        """Row groups of the file."""
        return len(self._sizes)

    def check_rows(self) -> None:
        """Raise `TooLargeError` if the file has far more rows than it can have images.

        Rows that are null, or repeat a value, take no space in it.
        """
        metadata = self._file.metadata
        n_rows = sum(max(0, metadata.row_group(group).num_rows) for group in range(self.n_groups))
        what = f"{n_rows:,} rows, counted as {_ROW_BYTES:,} bytes each,"
        on_disk = size_on_disk(self.path)
        check_limit("array_bytes", _ROW_BYTES * n_rows, what, self.path, on_disk=on_disk)

    def facts(self, group: int) -> Iterator[tuple[str, Label]]:
        """Path and label of each row, where there are any."""
        columns = self.columns
        wanted = [columns.label] if columns.label is not None else []
        wanted += [f"{columns.image}.{_PATH}"] if columns.has_path else []
        if not wanted:
            yield from itertools.repeat(("", None), self._file.metadata.row_group(group).num_rows)
            return
        for batch in self._batches(group, wanted, _LIST_ROWS):
            paths, labels = [""] * len(batch), [None] * len(batch)
            if columns.has_path:
                paths = [(one or {}).get(_PATH) or "" for one in batch[columns.image].to_pylist()]
            if columns.label is not None:
                labels = batch[columns.label].to_pylist()
            yield from zip(paths, map(self._label, labels), strict=True)

    def images(self, group: int) -> Iterator[bytes | None]:
        """Bytes of the image of each row of a row group."""
        columns = self.columns
        wanted = f"{columns.image}.{_BYTES}" if columns.is_struct else columns.image
        for batch in self._batches(group, [wanted], _READ_ROWS):
            for one in batch[columns.image]:
                value = one.as_py()
                yield (value or {}).get(_BYTES) if columns.is_struct else value

    def _label(self, label: object) -> Label:
        if self.columns.label is None or isinstance(label, str):
            return label  # type: ignore[return-value]
        if label is None:
            return None
        if not isinstance(label, int) or not -1 <= label < MAX_CLASSES:
            raise DatasetError(
                f"{self.path}: expected labels from 0 to {MAX_CLASSES - 1:,}, or -1, in the column "
                f"{self.columns.label}, found {label!r:.40}: name another with `label_column=...`"
            )
        return label

    def _batches(self, group: int, wanted: Sequence[str], n_rows: int) -> Iterator[Any]:
        """Batches of columns of a row group, of limited size."""
        n_bytes = sum(one.n_bytes for one in self._sizes[group] if one.path in wanted)
        on_disk = size_on_disk(self.path)
        check_limit("array_bytes", n_bytes, "a row group", self.path, on_disk=on_disk)
        # A value that repeats is stored once: each row may be as large as the whole column.
        n_rows = max(1, min(n_rows, _READ_BYTES // max(n_bytes, 1)))
        yield from self._file.iter_batches(
            batch_size=n_rows, row_groups=[group], columns=list(wanted), use_threads=False
        )


class _GroupReader:
    """Reads the images of one row group from its beginning; ``wanted`` are the rows to keep."""

    wanted: frozenset[int] = frozenset()

    def __init__(self, path: Path, image_column: str, number: int, group: int) -> None:
        self.path, self.number, self.group = path, number, group
        self.next_row = 0
        file = _ImageFile(path, image_column)
        if not 0 <= group < file.n_groups:
            raise DatasetError(f"{path}: expected row group {group}, found {file.n_groups}")
        self._images = file.images(group)

    def images(self) -> Iterator[tuple[int, bytes | None]]:
        """The next rows and their images."""
        for data in self._images:
            self.next_row += 1
            yield self.next_row - 1, data


def _rows_of_groups(where: NDArray[np.int64]) -> dict[tuple[int, int], NDArray[np.int64]]:
    """The rows of each row group, by the numbers of file and group."""
    ordered = where[np.lexsort(where.T[::-1])]
    is_first = np.any(np.diff(ordered[:, :2], axis=0, prepend=-1), axis=1)
    starts = np.flatnonzero(is_first)
    parts = np.split(ordered[:, 2], starts[1:])
    keys = ordered[starts, :2].tolist()
    return {(number, group): rows for (number, group), rows in zip(keys, parts, strict=False)}


def _columns_of(
    pyarrow: Any, schema: Any, path: Path, image_column: str, label_column: str
) -> _Columns:
    types = pyarrow.types
    fields = {field.name: field.type for field in schema}
    images = [name for name, kind in fields.items() if _is_image(types, kind)]
    image = image_column or (images[0] if len(images) == 1 else _IMAGE)
    if image not in images:
        raise DatasetError(
            f"{path}: expected a column {image} with the bytes of images, or with structs of "
            f"{_BYTES} and {_PATH}; found {_named(images)} of that kind among the columns "
            f"{_named(fields)}: name one with `image_column=...`"
        )
    if [field.name for field in schema].count(image) > 1:
        raise DatasetError(f"{path}: expected one column {image}, found several of that name")
    is_struct = types.is_struct(fields[image])
    inner = {field.name: field.type for field in fields[image]} if is_struct else {}
    has_path = _PATH in inner and _is_text(types, inner[_PATH])
    label = label_column or _LABEL
    kind = fields.get(label)
    if kind is not None and (types.is_integer(kind) or _is_text(types, kind)):
        return _Columns(image, is_struct, has_path, label)
    if label_column:
        raise DatasetError(
            f"{path}: expected a column {label} with whole numbers or names of classes, found "
            f"{'none of that name' if kind is None else kind} among {_named(fields)}: name another "
            "with `label_column=...`"
        )
    return _Columns(image, is_struct, has_path, None, "" if kind is None else str(kind))


def _is_image(types: Any, kind: Any) -> bool:
    if types.is_struct(kind):
        return any(field.name == _BYTES and _is_binary(types, field.type) for field in kind)
    return _is_binary(types, kind)


def _is_binary(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(types: Any, kind: Any) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _named(names: Any) -> str:
    return ", ".join(map(str, list(names)[:20])) or "none"
