"""Writes Lance datasets, which LanceDB and other vector databases search.

=================  =============================================================================
column ``row``     int64: 0, 1, 2 and so on
column ``code``    list of uint8 with a fixed length, packed bits: what Lance's ``hamming`` takes
others             as in a Parquet file
=================  =============================================================================

A dataset is a folder. hashkit does not read datasets: the bank has everything in them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.errors import CodesError, MissingExtraError
from hashkit.files.private import private_folder
from hashkit.files.writing import make_parents, sync_folder
from hashkit.formats.arrow_columns import ArrowColumns
from hashkit.formats.format import Format, WriteProgress
from hashkit.messages.foreign_errors import foreign_message
from hashkit.messages.os_errors import cannot_write
from hashkit.meter import Meter

__all__ = ["LANCE"]


def _read(path: Path, n_bits: int | None) -> CodeDatabase:  # noqa: ARG001
    """Refuse: a dataset is for other programs."""
    raise CodesError(
        f"{path}: expected a file of codes that hashkit can read, found a Lance dataset, which it "
        "can only write; give the bank that the dataset was made from"
    )


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    lance, pyarrow = _libraries()
    columns = ArrowColumns(pyarrow, database, are_vectors=True)
    meter = Meter(n_kept_rows(database), progress)
    is_replaced = _check_target(path, overwrite)
    batches = _Batches(columns, meter)
    reader = pyarrow.RecordBatchReader.from_batches(columns.schema, batches.counted())
    try:
        if is_replaced:  # Lance commits a whole version; earlier ones are then removed
            dataset = lance.write_dataset(reader, os.fspath(path), mode="overwrite")
            dataset.cleanup_old_versions(older_than=timedelta(0))
        else:
            make_parents(path)
            with private_folder(path) as folder:
                lance.write_dataset(reader, os.fspath(folder / "dataset"), mode="create")
                _publish(folder / "dataset", path)
    except OSError as error:
        raise batches.failure or CodesError(_reason(error, path)) from None
    except (ValueError, RuntimeError) as error:
        reason = foreign_message(error)
        raise batches.failure or CodesError(f"{path}: cannot be written ({reason})") from None


class _Batches:
    """Record batches; keeps their exception, which Lance turns into text."""

    def __init__(self, columns: ArrowColumns, meter: Meter) -> None:
        self._columns, self._meter = columns, meter
        self.failure: BaseException | None = None

    def counted(self) -> Iterator[Any]:
        try:
            for batch in self._columns.batches():
                yield batch
                self._meter.add(len(batch))
        except BaseException as error:
            self.failure = error
            raise


def _check_target(path: Path, overwrite: bool) -> bool:
    """Whether there is a dataset to replace."""
    if not os.path.lexists(path):
        return False
    if not (path / "_versions").is_dir():
        raise CodesError(
            f"{path}: exists and is not a Lance dataset, so it is not replaced; choose another name"
        )
    if not overwrite:
        raise CodesError(f"{path}: exists already; replace it with `overwrite=True`")
    return True


def _publish(folder: Path, target: Path) -> None:
    """Give a complete dataset its name."""
    if hasattr(os, "sync"):
        os.sync()
    folder.rename(target)
    sync_folder(target.parent)


def _reason(error: OSError, path: Path) -> str:
    if error.errno is None:  # Lance gives only text
        return f"{path}: cannot be written ({foreign_message(error)})"
    return cannot_write(error, path)


def _libraries() -> tuple[Any, Any]:
    with contextlib.suppress(ImportError):
        import lance
        import pyarrow

        return lance, pyarrow
    raise MissingExtraError("pylance", "lance", "a Lance dataset")


LANCE = Format("Lance dataset", _read, _write)
