"""Columns of a Parquet file, whose size in memory is checked before they are expanded.

Parquet stores a value that repeats once, in a dictionary, and runs of rows in a few bytes: a file
of a kilobyte may stand for any amount of memory. Columns of text and bytes are therefore read with
their dictionaries, and decoded only if all rows together keep to the limit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hashkit.inputs.limits import check_limit
from hashkit.inputs.opening import size_on_disk
from hashkit.inputs.parquet_footer import read_column_sizes

__all__ = ["ParquetColumns"]

_NUMBER_BYTES: Final = 8
"""Bytes of a number, or of the offset of a text."""


class ParquetColumns:
    """An open Parquet file.

    Parameters
    ----------
    pyarrow
        The package.
    path
        The file.
    """

    def __init__(self, pyarrow: Any, path: Path) -> None:
        self._pyarrow, self._path = pyarrow, path
        self._sizes = read_column_sizes(path)
        file = pyarrow.parquet.ParquetFile(path)
        self.schema = file.schema_arrow
        texts = [field.name for field in self.schema if self._is_text(field.type)]
        # The second opening reads no more than the first: the metadata is kept.
        self.file = pyarrow.parquet.ParquetFile(
            path, metadata=file.metadata, read_dictionary=texts or None
        )

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        n_rows: int = self.file.metadata.num_rows
        return n_rows

    @property
    def group_sizes(self) -> list[int]:
        """Rows of each row group."""
        metadata = self.file.metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def read(self, name: str, group: int | None = None) -> Any:
        """A column of a row group, or of the whole file, as one array without dictionary.

        Raises
        ------
        TooLargeError
            If it exceeds the limit ``array_bytes`` and the size of the file.
        """
        self._check(name, self._declared_bytes(name, group))
        table = (
            self.file.read(columns=[name])
            if group is None
            else self.file.read_row_group(group, columns=[name])
        )
        column = table[name].combine_chunks()
        if isinstance(column, self._pyarrow.ChunkedArray):  # for an empty table, in old versions
            column = self._pyarrow.concat_arrays(column.chunks)
        if not self._pyarrow.types.is_dictionary(column.type):
            return column
        self._check(name, self._decoded_bytes(column))
        return column.dictionary_decode()

    def _declared_bytes(self, name: str, group: int | None) -> int:
        """Bytes by the metadata, before anything is decompressed."""
        kind = self.schema.field(name).type
        is_fixed = self._pyarrow.types.is_fixed_size_binary(kind)
        width = kind.byte_width if is_fixed else _NUMBER_BYTES
        groups = self._sizes if group is None else self._sizes[group : group + 1]
        return sum(
            max(column.n_bytes, column.n_values * width)
            for columns in groups
            for column in columns
            if column.name == name
        )

    def _decoded_bytes(self, column: Any) -> int:
        """Bytes of a dictionary array without its dictionary."""
        kind = column.type.value_type
        if not self._is_text(kind):
            return len(column) * _NUMBER_BYTES
        from pyarrow import compute

        lengths = compute.binary_length(column.dictionary).cast("int64")
        return compute.sum(lengths.take(column.indices)).as_py() or 0

    def _is_text(self, kind: Any) -> bool:
        types = self._pyarrow.types
        return bool(
            types.is_string(kind)
            or types.is_large_string(kind)
            or types.is_binary(kind)
            or types.is_large_binary(kind)
        )

    def _check(self, name: str, n_bytes: int) -> None:
        check_limit(
            "array_bytes",
            n_bytes,
            f"the column {name}",
            self._path,
            on_disk=size_on_disk(self._path),
        )
