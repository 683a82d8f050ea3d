"""Deletes and restores rows of a code bank by marking them, without rewriting the bank."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashkit.bank.bankfile import BankFile
from hashkit.bank.files import existing_bank, locked
from hashkit.bank.layout import FORMAT_VERSION
from hashkit.errors import BankError
from hashkit.inputs.arguments import argument_shown, checked_arguments
from hashkit.inputs.masks import unmasked

__all__ = ["delete_rows", "restore_rows", "rows_named"]

_log = logging.getLogger(__name__)

_FIRST_VERSION: Final = 2


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


def rows_named(names: Sequence[str], wanted: Collection[str]) -> dict[str, list[int]]:
    """Find the rows of each wanted name in one pass; a name may have several rows, or none."""
    rows: dict[str, list[int]] = {name: [] for name in wanted}
    for row, name in enumerate(names):
        if name in rows:
            rows[name].append(row)
    return rows


def _mark(path: str | os.PathLike[str], rows: ArrayLike, *, is_deleted: bool) -> int:
    path = existing_bank(path)
    with locked(path), BankFile(path) as file:
        n_rows = file.committed.n_rows
        numbers = _checked(rows, n_rows, str(path))
        marks = np.unpackbits(file.read_deleted(), count=n_rows)
        changed = np.unique(numbers[marks[numbers] != is_deleted])
        if not len(changed):
            return 0
        if file.layout.format_version < _FIRST_VERSION:
            _upgrade(file)
            _log.info("%s: upgraded to format version %d", path, FORMAT_VERSION)
        marks[changed] = is_deleted
        file.commit_deleted(np.packbits(marks))
        return len(changed)


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


def _checked(rows: ArrayLike, n_rows: int, path: str) -> NDArray[np.int64]:
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
