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

from pathlib import Path
from typing import Final

from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.formats.arrow_columns import ArrowColumns
from hashkit.formats.format import Format, WriteProgress, whole_file
from hashkit.formats.parquet_reading import read_parquet
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
    columns = ArrowColumns(pyarrow, database)
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


PARQUET = Format("Parquet file", read_parquet, _write)
