"""The code bank as a format; see docs/bank-format.md."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hashkit.codesets import CodeDatabase, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.format import Format, WriteProgress
from hashkit.formats.origin import describe
from hashkit.formats.rows import BLOCK_ROWS, kept_codes, kept_files, kept_labels, kept_names
from hashkit.meter import Meter

if TYPE_CHECKING:
    from hashkit.bank.build import RowBlock

__all__ = ["BANK", "name_bytes", "row_blocks"]


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

    origin = describe(database)
    build_bank(
        path,
        origin.header,
        origin.sources,
        row_blocks(database, Meter(n_kept_rows(database), progress)),
        n_rows=n_kept_rows(database),
        n_name_bytes=sum(name_bytes(database, [0, n_kept_rows(database)])),
        n_consumed=origin.n_consumed,
        is_complete=origin.is_complete,
        overwrite=overwrite,
    )


def name_bytes(database: CodeDatabase, bounds: Sequence[int]) -> list[int]:
    """Bytes of the names of the kept rows ``bounds[i]`` to the one before ``bounds[i + 1]``."""
    from hashkit.bank.names import encode_names

    names = itertools.chain.from_iterable(kept_names(database))
    sizes = []
    for first, stop in itertools.pairwise(bounds):
        pieces = (min(BLOCK_ROWS, stop - start) for start in range(first, stop, BLOCK_ROWS))
        sizes.append(sum(len(encode_names([*itertools.islice(names, n)])[0]) for n in pieces))
    return sizes


def row_blocks(database: CodeDatabase, meter: Meter) -> Iterator[RowBlock]:
    """The kept rows as a bank stores them, in blocks of at most `BLOCK_ROWS`."""
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
