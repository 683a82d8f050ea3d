"""Codes, names and labels of a database as columns of Arrow, in pieces of bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.attributes import header_attributes
from hashkit.codes import code_size
from hashkit.codesets import CodeDatabase
from hashkit.formats.origin import Origin, describe
from hashkit.formats.parquet_reading import PREFIX
from hashkit.formats.rows import first_labels, has_names, kept_codes, kept_labels, kept_names

__all__ = ["ArrowColumns"]


class ArrowColumns:
    """The columns of the rows that are not deleted.

    Parameters
    ----------
    pyarrow
        The module, which the caller imported.
    database
        Codes with their names and labels, if any.
    are_vectors
        Whether codes are lists of bytes, which vector databases search, with a column ``row``.
        Otherwise each code is one binary value.

    Attributes
    ----------
    schema
        The columns, and a bank's metadata as text.
    """

    def __init__(self, pyarrow: Any, database: CodeDatabase, *, are_vectors: bool = False) -> None:
        self._arrow, self._database, self._are_vectors = pyarrow, database, are_vectors
        size = code_size(database.n_bits)
        self._code = pyarrow.list_(pyarrow.uint8(), size) if are_vectors else pyarrow.binary(size)
        self._is_named = has_names(database)
        fields = [pyarrow.field("row", pyarrow.int64(), nullable=False)] if are_vectors else []
        fields.append(pyarrow.field("code", self._code, nullable=False))
        if self._is_named:
            fields.append(pyarrow.field("name", pyarrow.string(), nullable=False))
        labels = first_labels(database)
        if labels is not None and labels.ndim == 1:
            self._label = pyarrow.int64() if labels.dtype.itemsize > 4 else pyarrow.int32()
            fields.append(pyarrow.field("label", self._label))
        elif labels is not None:
            self._label = pyarrow.list_(pyarrow.int32())
            fields.append(pyarrow.field("labels", self._label, nullable=False))
        self.schema = pyarrow.schema(fields, metadata=_metadata(describe(database)))

    def batches(self) -> Iterator[Any]:
        """Record batches of the schema, none of them empty."""
        columns = (
            kept_codes(self._database),
            kept_names(self._database),
            kept_labels(self._database),
        )
        first = 0
        for codes, names, labels in zip(*columns, strict=True):
            if not len(codes):
                continue
            rows = np.arange(first, first + len(codes))
            arrays = [self._arrow.array(rows)] if self._are_vectors else []
            arrays.append(self._codes(codes))
            if self._is_named:
                arrays.append(self._arrow.array(names, self._arrow.string()))
            if labels is not None:
                arrays.append(self._single(labels) if labels.ndim == 1 else self._multi(labels))
            yield self._arrow.record_batch(arrays, schema=self.schema)
            first += len(codes)

    def _codes(self, codes: NDArray[np.uint8]) -> Any:
        codes = np.ascontiguousarray(codes)
        if self._are_vectors:
            values = self._arrow.array(codes.reshape(-1))
            return self._arrow.FixedSizeListArray.from_arrays(values, type=self._code)
        buffers = [None, self._arrow.py_buffer(codes.data)]
        return self._arrow.FixedSizeBinaryArray.from_buffers(self._code, len(codes), buffers)

    def _single(self, labels: NDArray[Any]) -> Any:
        return self._arrow.array(labels, self._label, mask=labels < 0)

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
