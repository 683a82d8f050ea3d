"""The code bank as a format; see docs/bank-format.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.format import Format, WriteProgress
from hashkit.formats.origin import describe
from hashkit.formats.rows import kept_codes, kept_files, kept_labels, kept_names
from hashkit.meter import Meter

if TYPE_CHECKING:
    from hashkit.bank.build import RowBlock

__all__ = ["BANK"]


def _read(path: Path, n_bits: int | None) -> CodeDatabase:
    from hashkit.bank.reader import Bank  # here, because other formats do not need h5py

    bank: CodeDatabase = Bank.open(path)
    if n_bits not in (None, bank.n_bits):
        raise CodesError(f"{path}: expected codes of {n_bits} bits, found {bank.n_bits}")
    return bank


def _write(
    path: Path,
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    progress: WriteProgress | None = None,
) -> None:
    from hashkit.bank.build import build_bank
    from hashkit.bank.names import encode_names

    origin = describe(database)
    build_bank(
        path,
        origin.header,
        origin.sources,
        _blocks(database, Meter(n_kept_rows(database), progress)),
        n_rows=n_kept_rows(database),
        n_name_bytes=sum(len(encode_names(names)[0]) for names in kept_names(database)),
        n_consumed=origin.n_consumed,
        is_complete=origin.is_complete,
        overwrite=overwrite,
    )


def _blocks(database: CodeDatabase, meter: Meter) -> Iterator[RowBlock]:
    columns = (
        kept_codes(database),
        kept_names(database),
        kept_labels(database),
        kept_files(database),
    )
    for codes, names, labels, files in zip(*columns, strict=True):
        # A bank stores -1 for "unknown"; in other formats, any negative number may mean that.
        if labels is not None and labels.ndim == 1 and labels.dtype.kind == "i":
            yield codes, names, np.maximum(labels, -1), files
        else:
            yield codes, names, labels, files
        meter.add(len(codes))


BANK = Format("code bank", _read, _write)
