"""Writes Parquet files: one row per code, and a bank's metadata in the file's metadata.

======================  ========================================================================
column ``code``         fixed-size binary, packed bits
column ``name``         text; absent if there are no names
column ``label``        integer, null where unknown; files of other programs may have class names
column ``labels``       for multi-label codes, instead of ``label``: list of class numbers
======================  ========================================================================

The key-value metadata ``hashkit.*`` are the attributes of a bank (docs/bank-format.md), as text.
Files of other programs need only the column ``code``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.attributes import header_attributes
from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.formats.format import Format, WriteProgress, whole_file
from hashkit.formats.origin import Origin, describe
from hashkit.formats.parquet_reading import PREFIX, read_parquet
from hashkit.formats.rows import (
    has_names,
    kept_codes,
    kept_labels,
    kept_names,
)
from hashkit.inputs.pyarrow_import import load_pyarrow
from hashkit.meter import Meter

__all__ = ["PARQUET"]

_COMPRESSION: Final = {
    "code": "NONE",  # codes do not compress, and uncompressed they can be mapped
    "name": "ZSTD",
    "label": "ZSTD",
    "labels.list.element": "ZSTD",
}


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    pyarrow = load_pyarrow()
    columns = _Columns(pyarrow, database)
    meter = Meter(n_kept_rows(database), progress)
    names = [field.name for field in columns.schema]
    with (
        whole_file(path, overwrite) as part,
        pyarrow.parquet.ParquetWriter(
            part,
            columns.schema,
            use_dictionary=[name for name in names if name == "label"],
            compression={name: _COMPRESSION[name] for name in _leaves(names)},
        ) as writer,
    ):
        for batch in columns.batches():
            writer.write_batch(batch)
            meter.add(len(batch))


def _leaves(names: list[str]) -> list[str]:
    return ["labels.list.element" if name == "labels" else name for name in names]


class _Columns:
    """The columns of a database as Arrow arrays, one row group at a time."""

    def __init__(self, pyarrow: Any, database: CodeDatabase) -> None:
        self._arrow, self._database = pyarrow, database
        self._size = code_size(database.n_bits)
        self._is_named = has_names(database)
        fields = [pyarrow.field("code", pyarrow.binary(self._size), nullable=False)]
        if self._is_named:
            fields.append(pyarrow.field("name", pyarrow.string(), nullable=False))
        labels = database.labels
        if labels is not None and labels.ndim == 1:
            self._kind = pyarrow.int64() if labels.dtype.itemsize > 4 else pyarrow.int32()
            fields.append(pyarrow.field("label", self._kind))
        elif labels is not None:
            self._kind = pyarrow.list_(pyarrow.int32())
            fields.append(pyarrow.field("labels", self._kind, nullable=False))
        self.schema = pyarrow.schema(fields, metadata=_metadata(describe(database)))

    def batches(self) -> Iterator[Any]:
        columns = (
            kept_codes(self._database),
            kept_names(self._database),
            kept_labels(self._database),
        )
        for codes, names, labels in zip(*columns, strict=True):
            if not len(codes):
                continue
            arrays = [self._codes(codes)]
            if self._is_named:
                arrays.append(self._arrow.array(names, self._arrow.string()))
            if labels is not None:
                arrays.append(self._single(labels) if labels.ndim == 1 else self._multi(labels))
            yield self._arrow.record_batch(arrays, schema=self.schema)

    def _codes(self, codes: NDArray[np.uint8]) -> Any:
        buffer = self._arrow.py_buffer(np.ascontiguousarray(codes).data)
        kind = self._arrow.binary(self._size)
        return self._arrow.FixedSizeBinaryArray.from_buffers(kind, len(codes), [None, buffer])

    def _single(self, labels: NDArray[Any]) -> Any:
        return self._arrow.array(labels, self._kind, mask=labels < 0)

    def _multi(self, labels: NDArray[Any]) -> Any:
        ends = np.cumsum(np.count_nonzero(labels, axis=1), dtype=np.int32)
        offsets = np.concatenate([np.zeros(1, np.int32), ends])
        classes = np.nonzero(labels)[1].astype(np.int32)
        return self._arrow.ListArray.from_arrays(offsets, classes)


def _metadata(origin: Origin) -> dict[str, str]:
    attributes = header_attributes(origin.header, origin.sources) | {
        "n_consumed": origin.n_consumed,
        "is_complete": json.dumps(origin.is_complete),
    }
    return {PREFIX + name: str(value) for name, value in attributes.items()}


PARQUET = Format("Parquet file", read_parquet, _write)
