"""Which deleted rows of a bank were deleted because of their files, and not by a user.

A row that a user deleted stays deleted while its file is the same. A row whose file was removed
comes back with the file. The bank knows only which rows are deleted, so the others are listed
beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.bank_set.joined import AnyBank, JoinedBanks, rows_by_bank
from hashkit.errors import BankError
from hashkit.files.writing import append_whole, write_whole
from hashkit.inputs.json_lines import read_json_lines

__all__ = ["Removals", "RemovedRows", "removed_rows_of", "removed_rows_path"]

_MOST_LINES: Final = 100
"""Most lines; a longer list is written as one line again."""


def removed_rows_path(bank_path: str | os.PathLike[str]) -> Path:
    """Path of the list of a bank: one JSON object per line."""
    path = Path(bank_path)
    return path.with_name(path.name + ".removed.jsonl")


@dataclasses.dataclass(frozen=True)
class _Line:
    """Rows of one commit, of the bank with this identity."""

    bank: str
    rows: list[int]


class Removals(Protocol):
    """The rows of a bank or a bank set that were deleted because of their files."""

    def mask(self, is_deleted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows were deleted because of their files; see `RemovedRows.mask`."""

    def tidy(self, is_deleted: NDArray[np.bool_]) -> None:
        """Drop rows that are not deleted; see `RemovedRows.tidy`."""

    def add(self, rows: Iterable[int]) -> None:
        """List rows that are about to be deleted; see `RemovedRows.add`."""


def removed_rows_of(bank: AnyBank) -> Removals:
    """The list of a bank, or those of the shards of a set.

    Raises
    ------
    BankError
        If a list cannot be read.
    """
    if isinstance(bank, JoinedBanks):
        return _RemovedOfShards(bank)
    return RemovedRows(bank.path, bank.identity)


class RemovedRows:
    """The list of the rows of a bank that were deleted because of their files.

    Rows are listed before they are deleted, so that after a kill the list may be ahead of the bank,
    but never behind.

    Parameters
    ----------
    bank_path
        The bank.
    identity
        Identity of the bank; another bank at the same path has other rows.

    Raises
    ------
    BankError
        If the list cannot be read.
    """

    def __init__(self, bank_path: str | os.PathLike[str], identity: str) -> None:
        self.path = removed_rows_path(bank_path)
        self._identity = identity
        lines = read_json_lines(
            self.path,
            _Line,
            BankError,
            what="a list of removed rows",
            remedy="delete the file; rows of removed images then count as deleted by hand",
        )
        self._n_lines = len(lines)
        self._rows = {row for line in lines if line.bank == identity for row in line.rows}

    @property
    def rows(self) -> list[int]:
        """The rows that are listed, some of which may not be deleted."""
        return sorted(self._rows)

    def mask(self, is_deleted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows were deleted because of their files.

        Parameters
        ----------
        is_deleted
            bool [n], the deleted rows of the bank.
        """
        mask = np.zeros(len(is_deleted), bool)
        mask[[row for row in self._rows if 0 <= row < len(mask)]] = True
        return mask & is_deleted

    def tidy(self, is_deleted: NDArray[np.bool_]) -> None:
        """Drop rows that are not deleted, and other banks' rows; the caller holds the lock.

        Raises
        ------
        OSError
            If the list cannot be written.
        """
        rows = set(np.flatnonzero(self.mask(is_deleted)).tolist())
        if rows == self._rows and self._n_lines <= _MOST_LINES:
            return
        self._rows = rows
        self._n_lines = 1
        write_whole(self.path, self._line(rows))

    def add(self, rows: Iterable[int]) -> None:
        """List rows that are about to be deleted; they are on the disk when this returns.

        Raises
        ------
        OSError
            If the list cannot be written.
        """
        new = set(rows) - self._rows
        if new:
            append_whole(self.path, self._line(new), is_synced=True)
            self._rows |= new
            self._n_lines += 1

    def _line(self, rows: Iterable[int]) -> bytes:
        return f"{json.dumps({'bank': self._identity, 'rows': sorted(rows)})}\n".encode()


class _RemovedOfShards:
    """The lists of the shards of a set, by rows of the set.

    Rows added after the set was opened belong to its last shard.
    """

    def __init__(self, banks: JoinedBanks) -> None:
        self._lists = [RemovedRows(bank.path, bank.identity) for bank in banks.banks]
        self._starts = np.cumsum([0, *map(len, banks.banks)])[:-1]

    def mask(self, is_deleted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        parts = zip(self._lists, self._parts(is_deleted), strict=True)
        return np.concatenate([one.mask(part) for one, part in parts])

    def tidy(self, is_deleted: NDArray[np.bool_]) -> None:
        for one, part in zip(self._lists, self._parts(is_deleted), strict=True):
            one.tidy(part)

    def add(self, rows: Iterable[int]) -> None:
        numbers = np.array([*rows], np.int64)
        for shard, is_own in rows_by_bank(numbers, self._starts):
            self._lists[shard].add((numbers[is_own] - self._starts[shard]).tolist())

    def _parts(self, is_deleted: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        return np.split(is_deleted, self._starts[1:])
