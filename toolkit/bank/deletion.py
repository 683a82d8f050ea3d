"""Deletes and restores rows of a code bank by marking them, without rewriting the bank."""

from __future__ import annotations

import logging
import os
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashkit.bank.bankfile import BankFile
from hashkit.bank.files import existing_bank, locked
from hashkit.bank.layout import FORMAT_VERSION
from hashkit.errors import BankError
from hashkit.inputs.arguments import argument_shown, checked_arguments
from hashkit.inputs.masks import unmasked

__all__ = [
    "FIRST_VERSION",
    "delete_rows",
    "restore_rows",
    "row_numbers",
    "with_marks",
]

_log = logging.getLogger(__name__)

FIRST_VERSION: Final = 2
"""The first format version that has deleted rows."""


@checked_arguments
def delete_rows(path: str | os.PathLike[str], rows: ArrayLike) -> int:
    """Mark rows of a bank as deleted, so that search and evaluation skip them.

    Codes, names and row numbers do not change, and `restore_rows` undoes the deletion. ``hashkit
    convert`` writes a bank without the deleted rows. If the process is killed, either all rows are
    marked or none. A bank of format version 1 is first upgraded, which copies it.

    Parameters
    ----------
    path
        The bank, complete or not.
    rows
        Row numbers, integer [m], from 0; may include rows that are already deleted.

    Returns
    -------
    int
        Number of rows that were not deleted before.

    Raises
    ------
    BankLockedError
        If another process is writing the bank.
    BankError
        If there is no such row, or the bank cannot be read or written.
    """
    return _mark(path, rows, is_deleted=True)


@checked_arguments
def restore_rows(path: str | os.PathLike[str], rows: ArrayLike) -> int:
    """Undo `delete_rows`.

    Parameters
    ----------
    path
        The bank, complete or not.
    rows
        Row numbers, integer [m], from 0; may include rows that are not deleted.

    Returns
    -------
    int
        Number of rows that were deleted before.

    Raises
    ------
    BankLockedError
        If another process is writing the bank.
    BankError
        If there is no such row, or the bank cannot be read or written.
    """
    return _mark(path, rows, is_deleted=False)


def with_marks(
    bitmap: NDArray[np.uint8], rows: NDArray[np.int64], *, is_deleted: bool
) -> tuple[NDArray[np.uint8], int]:
    """A bitmap of deleted rows with some rows marked or unmarked, and how many have changed.

    Parameters
    ----------
    bitmap
        uint8 [ceil(n_rows / 8)], packed like codes.
    rows
        int64 [m], in any order.
    """
    rows = np.unique(rows)
    bits = np.uint8(0x80) >> (rows % 8).astype(np.uint8)
    is_changed = ((bitmap[rows // 8] & bits) != 0) != is_deleted
    marked = bitmap.copy()
    np.bitwise_xor.at(marked, rows[is_changed] // 8, bits[is_changed])
    return marked, int(is_changed.sum())


def _mark(path: str | os.PathLike[str], rows: ArrayLike, *, is_deleted: bool) -> int:
    path = existing_bank(path)
    with locked(path), BankFile(path) as file:
        n_rows = file.committed.n_rows
        numbers = row_numbers(rows, n_rows, str(path))
        bitmap, n_changed = with_marks(file.read_deleted(), numbers, is_deleted=is_deleted)
        if not n_changed:
            return 0
        if file.layout.format_version < FIRST_VERSION:
            _upgrade(file)
            _log.info("%s: upgraded to format version %d", path, FORMAT_VERSION)
        file.commit(file.committed, bitmap)
        return n_changed


def _upgrade(file: BankFile) -> None:
    layout = file.layout
    file.rebuild(
        layout.header,
        layout.sources,
        layout.n_rows,
        layout.n_name_bytes,
        file.committed,
        FORMAT_VERSION,
    )


def row_numbers(rows: ArrayLike, n_rows: int, path: str) -> NDArray[np.int64]:
    """Row numbers as int64 [m].

    Raises
    ------
    BankError
        If they are not row numbers of a bank with ``n_rows`` rows.
    """
    rows = unmasked(rows, f"{path}: row numbers", BankError)
    try:
        values: NDArray[Any] = np.atleast_1d(np.asarray(rows))
    except (ValueError, TypeError):
        raise BankError(
            f"{path}: expected row numbers, integers [m], found {argument_shown(rows)}"
        ) from None
    if not values.size:
        return np.empty(0, dtype=np.int64)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise BankError(
            f"{path}: expected row numbers, integers [m], found {values.dtype} {list(values.shape)}"
        )
    wrong = values[(values < 0) | (values >= n_rows)]
    if len(wrong):
        raise BankError(f"{path}: expected rows from 0 to {n_rows - 1}, found {wrong[0]}")
    return values.astype(np.int64)
