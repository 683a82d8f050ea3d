"""Builds a whole code bank at once, for conversion and compaction."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.bankfile import BankFile
from hashkit.bank.commit import Commit
from hashkit.bank.files import locked, replacing, resolve_link, write_errors
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.layout import create_file, new_identity
from hashkit.bank.rows import encode_rows
from hashkit.errors import BankError
from hashkit.files.writing import make_parents

__all__ = ["RowBlock", "build_bank"]

RowBlock: TypeAlias = tuple[
    NDArray[np.uint8], Sequence[str] | None, NDArray[Any] | None, ImageFiles | None
]
"""Codes, names, labels and files of consecutive rows, as `BankWriter.write` takes them."""


def build_bank(
    path: str | os.PathLike[str],
    header: BankHeader,
    sources: tuple[BankSource, ...],
    blocks: Iterable[RowBlock],
    *,
    n_rows: int,
    n_name_bytes: int,
    n_consumed: int,
    is_complete: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a complete bank, or leave ``path`` untouched if that fails.

    Unlike `BankWriter`, this keeps nothing when it is interrupted. It is for rows that are cheap to
    read again. ``path`` may be the bank that the blocks are read from.

    Parameters
    ----------
    header, sources
        The bank's header, and all its image lists.
    blocks
        The rows, in order.
    n_rows, n_name_bytes
        Number of rows in all blocks, and bytes of their names in UTF-8.
    n_consumed, is_complete
        Images of the last list that were processed, and whether that is all of them.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    BankLockedError
        If another process is writing ``path``.
    BankError
        If ``path`` exists and ``overwrite`` is False, rows do not match the header, or the file
        cannot be written.
    CodesError
        If codes break the code convention.
    """
    path = resolve_link(path)
    with write_errors(path):
        make_parents(path)
    with locked(path):
        if path.exists() and not overwrite:
            raise BankError(f"{path}: exists already; replace it with `overwrite=True`")
        with replacing(path) as new:
            create_file(new, header, sources, n_rows, n_name_bytes, new_identity())
            with BankFile(new, is_new=True) as file:
                done = _fill(file, header, blocks)
                if (done.n_rows, done.n_name_bytes) != (n_rows, n_name_bytes):
                    raise BankError(
                        f"{path}: expected {n_rows} rows and {n_name_bytes} bytes of names, "
                        f"found {done.n_rows} and {done.n_name_bytes}"
                    )
                file.commit(
                    dataclasses.replace(done, n_consumed=n_consumed, is_complete=is_complete)
                )


def _fill(file: BankFile, header: BankHeader, blocks: Iterable[RowBlock]) -> Commit:
    done = Commit()
    for codes, names, labels, files in blocks:
        columns = encode_rows(header, done, codes, names, labels, files)
        n_rows = done.n_rows + len(codes)
        n_name_bytes = done.n_name_bytes + len(columns.get("names", b""))
        if n_rows > file.layout.n_rows or n_name_bytes > file.layout.n_name_bytes:
            raise BankError(f"expected room for {n_rows} rows, found {file.layout.n_rows}")
        file.write(columns, done)
        done = Commit(n_rows, n_name_bytes, row_generation=min(n_rows, 1))
    return done
