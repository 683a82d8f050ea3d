"""Deletes and restores rows of a bank or a bank set, whose rows are numbered over all shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashkit.bank import deletion
from hashkit.bank.deletion import row_numbers
from hashkit.bank.reader import Bank
from hashkit.bank_set.entries import updated_manifest
from hashkit.bank_set.finishing import locked_set
from hashkit.bank_set.joined import rows_by_bank
from hashkit.bank_set.manifest import read_manifest, write_manifest
from hashkit.bank_set.reader import BankSet
from hashkit.files.addresses import check_local
from hashkit.inputs.arguments import checked_arguments

__all__ = ["delete_rows", "restore_rows"]


@checked_arguments
def delete_rows(bank: Bank | BankSet | str | os.PathLike[str], rows: ArrayLike) -> int:
    """Mark rows of a bank or a bank set as deleted, so that search and evaluation skip them.

    Codes, names and row numbers do not change, and `restore_rows` undoes the deletion. ``hashkit
    convert`` writes a bank without the deleted rows. If the process is killed, either all rows of a
    bank are marked or none. In a set, only the rows of some shards may be marked; the same call
    then marks the others. A bank of format version 1 is first upgraded, which copies it.

    Parameters
    ----------
    bank
        The bank, complete or not, or a bank set; open or by its path. An open one stays as it is:
        ``bank = bank.reload()`` gives the new state.
    rows
        Row numbers, integer [m], from 0; may include rows that are already deleted.

    Returns
    -------
    int
        Number of rows that were not deleted before.

    Raises
    ------
    BankLockedError
        If another process is writing the bank, or changing the set.
    BankError
        If there is no such row, or the bank cannot be read or written.
    """
    return _mark(bank, rows, deletion.delete_rows)


@checked_arguments
def restore_rows(bank: Bank | BankSet | str | os.PathLike[str], rows: ArrayLike) -> int:
    """Undo `delete_rows`.

    Parameters
    ----------
    bank
        The bank, complete or not, or a bank set; open or by its path. An open one stays as it is:
        ``bank = bank.reload()`` gives the new state.
    rows
        Row numbers, integer [m], from 0; may include rows that are not deleted.

    Returns
    -------
    int
        Number of rows that were deleted before.

    Raises
    ------
    BankLockedError
        If another process is writing the bank, or changing the set.
    BankError
        If there is no such row, or the bank cannot be read or written.
    """
    return _mark(bank, rows, deletion.restore_rows)


def _mark(
    bank: Bank | BankSet | str | os.PathLike[str],
    rows: ArrayLike,
    mark: Callable[[Path, NDArray[np.int64]], int],
) -> int:
    path = Path(bank.path if isinstance(bank, Bank | BankSet) else bank)
    check_local(path)
    if not path.is_dir():
        return mark(path, rows)  # type: ignore[arg-type]
    read_manifest(path)  # before a lock is left in some other folder
    with locked_set(path), BankSet.open(path) as banks:
        numbers = row_numbers(rows, banks.n_rows, str(path))
        n_changed = 0
        try:
            for shard, is_own in rows_by_bank(numbers, banks.offsets):
                n_changed += mark(banks[shard].path, numbers[is_own] - banks.offsets[shard])
        finally:
            with BankSet.open(path) as now:
                write_manifest(path, updated_manifest(banks.manifest, now))
        return n_changed
