"""Reads a code bank."""

from __future__ import annotations

import copy
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.checksums import checksums_of_rows
from hashkit.bank.commit import Commit, read_commit, read_deleted, read_tail
from hashkit.bank.guard import FileGuard
from hashkit.bank.image_files import FILE_DIGEST_BYTES, ImageFiles
from hashkit.bank.layout import (
    Layout,
    checksum_columns,
    read_layout,
    row_widths,
)
from hashkit.bank.names import Names, NoNames
from hashkit.bank.verification import find_faults
from hashkit.codesets import deleted_mask
from hashkit.errors import BankError
from hashkit.inputs.arguments import checked_arguments
from hashkit.inputs.opening import open_file
from hashkit.messages.os_errors import cannot_read, no_such_bank
from hashkit.rows_digest import BLOCK_ROWS, codes_digest, rows_digest

__all__ = ["Bank"]

_OPEN_TRIES = 50


class _State(NamedTuple):
    """The parts of a bank that change, at one moment.

    Attributes
    ----------
    commit
        The commit record.
    deleted
        Mask of the deleted rows, bool [n]; None if there are none.
    tail
        Checksum of each column of the rows after the last whole block; none without checksums.
    """

    commit: Commit
    deleted: NDArray[np.bool_] | None
    tail: tuple[int, ...]


class Bank:
    """A code bank opened for reading with `Bank.open`.

    It holds the rows that were committed when it was opened, and never changes, whatever writers
    do. Any number of threads and processes may read and search it. `reload` returns the newest
    state; take the names of hits from the object that was searched.

    Use it as a context manager, or let the garbage collector close it. Arrays taken from it stay
    valid after `close`. Call `close` only when no thread uses the bank.

    Reading an array first checks that the file was not truncated or overwritten;
    docs/bank-format.md explains how to replace a bank that is in use.

    Attributes
    ----------
    path
        The file.
    header
        Metadata fixed when the bank was created.
    sources
        The image lists it was made from, in the order in which they were added.
    is_complete
        Whether the job that writes the bank had finished.
    n_consumed
        Images processed from the last source list, including skipped ones.
    n_deleted
        Number of deleted rows; see `deleted`.
    format_version
        Version of the file format.
    identity
        32 hexadecimal digits, drawn when the bank was created; empty before format version 3.
    derived
        Cached results computed from the rows, by name; emptied by `close`.
    row_generation, deletion_generation
        How often rows were added or changed (0 before format version 3), and how often the set of
        deleted rows changed (0 in format version 1).
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        state: _State,
        data: NDArray[np.uint8],
        guard: FileGuard,
    ) -> None:
        commit = state.commit
        self.path = path
        self.format_version = layout.format_version
        self.header = layout.header
        self.sources = layout.sources
        self.is_complete = commit.is_complete
        self.n_consumed = commit.n_consumed
        self.n_deleted = commit.n_deleted
        self.identity = layout.identity
        self.row_generation = commit.row_generation
        self.deletion_generation = commit.deletion_generation
        self.derived: dict[str, Any] = {}
        self._guard = guard
        self._digests: dict[int, str] = {}
        self._widths = row_widths(layout.header)
        self._deleted = state.deleted
        self._tail = state.tail
        self._layout = layout
        self._commit = commit
        self._data: NDArray[np.uint8] | None = data

    @classmethod
    @checked_arguments
    def open(cls, path: str | os.PathLike[str]) -> Bank:
        """Open a bank, complete or not, in time that does not depend on its size.

        If the bank has deleted rows, their bitmap is read: one bit per row.

        Raises
        ------
        BankError
            If there is no such file, or the file is not a bank, or damaged.
        BankMismatchError
            If the bank has a later format version.
        """
        path = Path(path)
        try:
            # HDF5 and the mapping share one open file, as a writer may replace the file at any
            # time. It is unbuffered, so that the commit record is never stale.
            with open_file(path, buffering=0) as file:
                layout = read_layout(file, path)
                state = _read_state(file, layout, path)
                guard = FileGuard(file, layout, state.commit, path)
                return cls(path, layout, state, _map(file), guard)
        except FileNotFoundError:
            raise BankError(no_such_bank(path)) from None
        except OSError as error:
            how = "; `BankSet.open` opens a bank set" if path.is_dir() else ""
            raise BankError(cannot_read(error, path) + how) from None

    def reload(self) -> Bank:
        """The bank's current state: this object if nothing has changed, otherwise a new one.

        Takes microseconds if nothing has changed. The file may have been extended or replaced. This
        object does not change, so searches in other threads end with the rows that they started
        with. Typical use is ``bank = bank.reload()``.

        Raises
        ------
        BankError
            If this bank is closed, or as `open` does.
        BankMismatchError
            If the bank has a later format version.
        """
        self._check_open()
        return self if self._guard.is_current() else Bank.open(self.path)

    def without(self, rows: NDArray[np.int64]) -> Bank:
        """The same bank without some rows, which count as deleted; the file does not change.

        Parameters
        ----------
        rows
            int64 [m], rows of the bank; may include deleted ones.
        """
        deleted = deleted_mask(self).copy()
        deleted[rows] = True
        deleted.setflags(write=False)
        other = copy.copy(self)
        other._deleted, other.n_deleted = deleted, int(np.count_nonzero(deleted))
        other.derived = {}
        return other

    def close(self) -> None:
        """Release the file; reading from the bank is an error afterwards."""
        self._data = None
        self.derived.clear()
        self._guard.close()

    def check(self) -> None:
        """Raise `BankError` if the bank is closed, or its file was cut off or overwritten."""
        self._check_open()
        self._guard.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._commit.n_rows

    def __repr__(self) -> str:
        deleted = f", {self.n_deleted} deleted" if self.n_deleted else ""
        state = "complete" if self.is_complete else "incomplete"
        return f"<Bank {self.path}: {len(self)} codes of {self.n_bits} bits{deleted}, {state}>"

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""
        return self.header.n_bits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the images' classes, by label; empty if unknown."""
        return self.header.class_names

    @property
    def codes(self) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)]: a read-only mapping of the file."""
        return self._column("codes").reshape(-1, self._widths["codes"])

    @property
    def labels(self) -> NDArray[Any] | None:
        """Labels, a read-only mapping of the file.

        int32 [n], -1 where unknown; or uint8 [n, n_classes], multi-hot; or None.
        """
        if self.header.label_kind == "none":
            return None
        labels = self._column("labels")
        if self.header.label_kind == "single":
            return labels.view("<i4")
        return labels.reshape(len(self), len(self.class_names))

    @property
    def names(self) -> Sequence[str]:
        """One name per row, decoded on access."""
        if not self.header.has_names:
            return NoNames(len(self), str(self.path))
        text = self._bytes("names", 0, self._commit.n_name_bytes)
        return Names(text, self._column("name_ends").view("<u8"), str(self.path))

    @property
    def files(self) -> ImageFiles | None:
        """Size, time and digest of the image file of each row; None if the bank has none."""
        if not self.header.has_files:
            return None
        return ImageFiles(
            self._column("file_size").view("<u8"),
            self._column("file_mtime_ns").view("<i8"),
            self._column("file_digest").reshape(len(self), FILE_DIGEST_BYTES),
        )

    @property
    def deleted(self) -> NDArray[np.bool_] | None:
        """Mask of the deleted rows, bool [n]; None if no row is deleted."""
        return self._deleted

    @property
    def has_checksums(self) -> bool:
        """Whether the bank has checksums: from format version 3 on."""
        return self._layout.has_checksums

    def rows_digest(self, n_rows: int | None = None) -> str:
        """Digest of the codes of the first ``n_rows`` rows, by default of all.

        It is hexadecimal SHA-256, made from the stored checksums and at most one block of codes.
        Banks without checksums are read whole, half a second per gigabyte.
        """
        n_rows = len(self) if n_rows is None else n_rows
        if n_rows not in self._digests:
            self._digests[n_rows] = self._rows_digest(n_rows)
        return self._digests[n_rows]

    def stored_checksums(self, block: int) -> tuple[tuple[str, ...], list[int]]:
        """The columns that have checksums, and their stored checksums for block ``block``."""
        columns = checksum_columns(self.header)
        if block == len(self) // BLOCK_ROWS:  # as opened; a writer may have changed it
            return columns, list(self._tail)
        size = 4 * len(columns)
        return columns, self._bytes("checksums", block * size, size).view("<u4").tolist()

    def checksums_of(self, start: int, stop: int) -> list[int | None]:
        """Checksums of the rows ``start`` to ``stop`` of one block, by column.

        The checksum of names is None if it is unknown where they are.
        """
        return checksums_of_rows(
            checksum_columns(self.header),
            self._widths,
            lambda *place: self._bytes(*place).data,
            start,
            stop,
            self._commit.n_name_bytes,
        )

    def verify(self) -> None:
        """Read every row and check what `open` does not: checksums, padding, names and labels.

        Raises
        ------
        BankError
            At the first block of rows that is damaged.
        """
        for fault in find_faults(self):
            raise BankError(f"{self.path}: damaged: {fault}")

    def _rows_digest(self, n_rows: int) -> str:
        if not self.has_checksums:
            return codes_digest(self.codes[:n_rows], self.n_bits)
        columns, n_whole = checksum_columns(self.header), n_rows // BLOCK_ROWS
        stored = self._bytes("checksums", 0, 4 * n_whole * len(columns)).view("<u4")
        block_checksums = stored.reshape(n_whole, len(columns))[:, columns.index("codes")]
        tail_checksum = zlib.crc32(self.codes[n_whole * BLOCK_ROWS : n_rows].data)
        return rows_digest(self.n_bits, n_rows, [*block_checksums.tolist(), tail_checksum])

    def _column(self, name: str) -> NDArray[np.uint8]:
        return self._bytes(name, 0, len(self) * self._widths[name])

    def _bytes(self, name: str, first: int, n_bytes: int) -> NDArray[np.uint8]:
        data = self._check_open()
        self._guard.check()
        first += self._layout.offsets[name]
        return data[first : first + n_bytes]

    def _check_open(self) -> NDArray[np.uint8]:
        if self._data is None:
            raise BankError(f"{self.path}: the bank is closed; open it again")
        return self._data


def _read_state(file: BinaryIO, layout: Layout, path: Path) -> _State:
    for _ in range(_OPEN_TRIES):
        commit = read_commit(file, layout, path)
        tail = read_tail(file, layout, commit)
        if tail is None:
            continue
        if not commit.n_deleted:
            return _State(commit, None, tail)
        bitmap = read_deleted(file, layout, commit, path)
        if bitmap is not None:
            deleted = np.unpackbits(bitmap, count=commit.n_rows).view(np.bool_)
            deleted.setflags(write=False)
            return _State(commit, deleted, tail)
    raise BankError(f"{path}: its rows keep changing; open the bank again later")


def _map(file: BinaryIO) -> NDArray[np.uint8]:
    # Slicing a plain array takes a fifth of the time.
    return np.memmap(file, dtype=np.uint8, mode="r").view(np.ndarray)
