"""Changes a bank that is in use: rows are added and marked as deleted, each time in one commit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import filelock
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashkit.bank.bankfile import BankFile, create_bank
from hashkit.bank.commit import Commit
from hashkit.bank.compatibility import USE_ITS_MODEL, check_complete, check_model
from hashkit.bank.deletion import FIRST_VERSION, row_numbers, with_marks
from hashkit.bank.files import (
    existing_bank,
    locked,
    locked_new,
    resolve_link,
    write_errors,
)
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.layout import FORMAT_VERSION, bitmap_size
from hashkit.bank.rows import encode_rows
from hashkit.errors import BankError
from hashkit.inputs.arguments import checked_arguments, real_number

__all__ = ["BankEditor"]

_GROWTH: Final = 1.5
_LEAST_ROWS: Final = 1_024
_LEAST_NAME_BYTES: Final = 32 * _LEAST_ROWS
"""Room of a small bank. Where files are sparse, unused room takes no space on the disk."""


class BankEditor:
    """Adds rows to a complete bank and deletes others, while it is searched; made by `open`.

    It holds the writer's lock until it is closed. Between any two calls, the file is a complete
    bank; a process that is killed leaves it as before or after a call of `apply`. A full bank is
    copied to a file with room for half as many rows again, so that the cost per row does not grow
    with the bank. Several threads may share an editor: their calls run one after the other.

    Readers see new rows and deletions when they open the bank again: see `Bank.reload`.
    """

    def __init__(self, path: Path, lock: filelock.BaseFileLock) -> None:
        self.path = path
        self._lock = lock
        self._turn = threading.Lock()
        self._file = BankFile(path)

    @classmethod
    @checked_arguments
    def open(cls, path: str | os.PathLike[str], *, lock_seconds: float = 0) -> BankEditor:
        """Open a complete bank to change it.

        Parameters
        ----------
        lock_seconds
            How long to wait for another process that is writing the bank, seconds.

        Raises
        ------
        BankLockedError
            If another process is writing the bank, or another editor of this one is open.
        BankError
            If there is no such bank, it is not complete, its last rows do not match their
            checksums, or it cannot be read or written.
        BankMismatchError
            If the bank has a later format version.
        """
        lock_seconds = real_number(lock_seconds, "lock_seconds", 0)
        path = existing_bank(path)
        with locked(path, lock_seconds) as (lock, keep):
            editor = cls(path, lock)
            keep.callback(editor._file.close)
            editor._check_file(editor._file)
            keep.pop_all()
        return editor

    @classmethod
    @checked_arguments
    def create(
        cls, path: str | os.PathLike[str], header: BankHeader, *, overwrite: bool = False
    ) -> BankEditor:
        """Make an empty, complete bank and open it; it stores names and facts about files.

        Parameters
        ----------
        path
            The file; missing parent folders are created.
        header
            The bank's metadata; its ``has_names`` and ``has_files`` become True.
        overwrite
            Whether an existing file may be replaced.

        Raises
        ------
        BankLockedError
            If another process is writing the bank.
        BankError
            If the file exists and ``overwrite`` is False, or it cannot be written.
        """
        header = dataclasses.replace(header, has_names=True, has_files=True)
        path = resolve_link(path)
        instead = "change it with BankEditor.open"
        with locked_new(path, overwrite=overwrite, instead=instead) as (lock, keep):
            create_bank(path, header, _LEAST_ROWS, _LEAST_NAME_BYTES, is_complete=True)
            editor = cls(path, lock)
            keep.pop_all()
        return editor

    @property
    def header(self) -> BankHeader:
        """The bank's metadata."""
        return self._file.layout.header

    @property
    def sources(self) -> tuple[BankSource, ...]:
        """The bank's image lists, in the order in which they were added."""
        return self._file.layout.sources

    @property
    def n_rows(self) -> int:
        """Number of rows, including deleted ones."""
        return self._file.committed.n_rows

    def admit(self, header: BankHeader, *, allow_other_provider: bool = False) -> None:
        """Check that codes of the model in ``header`` fit the bank, and record their runtime.

        Raises
        ------
        BankMismatchError
            If bits, model, precision, classes or kind of labels differ, or (without
            ``allow_other_provider``) runtime, provider or resampler.
        BankError
            If the file cannot be written.
        """
        with self._turn:
            self._check_open()
            check_model(self.path, header, self.header, USE_ITS_MODEL)
            self._file.admit(header, allow_other_provider=allow_other_provider)

    def apply(
        self,
        codes: NDArray[np.uint8] | None = None,
        names: Sequence[str] | None = None,
        labels: NDArray[Any] | None = None,
        *,
        files: ImageFiles | None = None,
        deleted: ArrayLike = (),
        source: BankSource | None = None,
    ) -> range:
        """Add rows and mark others as deleted in one commit; returns the numbers of the new rows.

        When it returns, the change is on the disk. A bank of an earlier format version, or without
        columns for files, is upgraded if ``files`` or ``deleted`` need it, which copies it.

        Parameters
        ----------
        codes
            uint8 [n, ceil(n_bits / 8)]; None for no new rows.
        names
            One name per new row; None for rows without names.
        labels
            int [n], -1 where unknown; or multi-hot [n, n_classes]; or None, according to the
            header's ``label_kind``.
        files
            The image files of the new rows, where known.
        deleted
            Numbers of rows to mark as deleted, integer [m]; may include rows that are deleted.
        source
            The image list of the new rows. It is added to the bank's lists, which copies the bank,
            unless the last list is a growing one, such as a folder that the bank follows. By
            default the rows belong to the last list.

        Raises
        ------
        CodesError
            If the codes break the code convention.
        BankError
            If names, labels, files or row numbers are invalid, another program replaced the file,
            or it cannot be written: then nothing has changed.
        """
        with self._turn:
            self._check_open()
            try:
                return self._apply(codes, names, labels, files, deleted, source)
            except BaseException:
                with contextlib.suppress(BankError):
                    self._file.reread()
                raise

    def set_source(self, source: BankSource) -> None:
        """Replace the bank's image lists by one, for example that of a folder that it follows.

        This copies the bank, unless the list is already its only one.
        """
        with self._turn:
            self._check_open()
            layout, before = self._file.layout, self._file.committed
            if layout.sources == (source,):
                return
            n_consumed = before.n_rows if source.n_images is None else source.n_images
            self._file.rebuild(
                dataclasses.replace(layout.header, source=source),
                (source,),
                *_capacity(before, layout.header),
                dataclasses.replace(before, n_consumed=n_consumed),
            )

    def reopen(self) -> bool:
        """Continue with the file by which another program replaced this bank's.

        Returns whether there was one; the lock is held throughout.

        Raises
        ------
        BankError, BankMismatchError
            If the file is gone, or `open` would refuse it. The editor then keeps the earlier file
            and can change nothing.
        """
        with self._turn:
            self._check_open()
            with write_errors(self.path):
                if self._file.is_in_place():
                    return False
            if not self.path.exists():
                raise BankError(
                    f"{self.path}: expected the bank that is being written, found no file: "
                    "restore a copy of the bank"
                )
            file = BankFile(self.path)
            try:
                self._check_file(file)
            except BaseException:
                file.close()
                raise
            self._file.close()
            self._file = file
            return True

    def close(self) -> None:
        """Close the file and release the lock; a second call does nothing."""
        with self._turn:
            self._file.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _apply(
        self,
        codes: NDArray[np.uint8] | None,
        names: Sequence[str] | None,
        labels: NDArray[Any] | None,
        files: ImageFiles | None,
        deleted: ArrayLike,
        source: BankSource | None,
    ) -> range:
        before = self._file.committed
        header, columns, n_new = self.header, dict[str, bytes](), 0
        if codes is not None:
            header = dataclasses.replace(header, has_files=header.has_files or files is not None)
            try:
                columns = encode_rows(header, before, codes, names, labels, files)
            except BankError as error:
                raise BankError(f"{self.path}: {error}") from None
            n_new = len(codes)
        elif not (names is None and labels is None and files is None):
            raise BankError(
                f"{self.path}: expected codes with names, labels and files, found none: give "
                "`codes` too"
            )
        bitmap = self._bitmap_with_marks(deleted, n_new)
        if not n_new and bitmap is None:
            return range(before.n_rows, before.n_rows)
        sources = self.sources
        if n_new and source and not (sources and sources[-1].n_images is None):
            header, sources = dataclasses.replace(header, source=source), (*sources, source)
        before = self._prepare(header, sources, n_new, columns, has_deleted=bitmap is not None)
        after = _commit_after(before, sources, n_new, columns)
        if n_new:
            self._file.write(columns, before)
        self._file.commit(after, bitmap)
        return range(before.n_rows, after.n_rows)

    def _bitmap_with_marks(self, deleted: ArrayLike, n_new: int) -> NDArray[np.uint8] | None:
        """The bitmap with more rows marked, and room for new ones; None if it stays as it is."""
        rows = row_numbers(deleted, self.n_rows, str(self.path))
        if not len(rows):
            return None
        bitmap, n_marked = with_marks(self._file.read_deleted(), rows, is_deleted=True)
        if not n_marked:
            return None
        return np.pad(bitmap, (0, bitmap_size(self.n_rows + n_new) - len(bitmap)))

    def _prepare(
        self,
        header: BankHeader,
        sources: tuple[BankSource, ...],
        n_new: int,
        columns: Mapping[str, bytes],
        *,
        has_deleted: bool,
    ) -> Commit:
        """Give the file the columns, lists, version and room for a change; returns its commit."""
        layout, before = self._file.layout, self._file.committed
        version = layout.format_version
        has_columns = header.columns == layout.header.columns
        if not has_columns or (has_deleted and version < FIRST_VERSION):
            version = FORMAT_VERSION
        if len(sources) > len(layout.sources):
            before = dataclasses.replace(before, n_consumed=0)
        after = _commit_after(before, sources, n_new, columns)
        has_room = after.n_rows <= layout.n_rows and after.n_name_bytes <= layout.n_name_bytes
        is_same = (version, sources) == (layout.format_version, layout.sources) and has_columns
        if not (has_room and is_same):
            self._file.rebuild(header, sources, *_capacity(after, header), before, version)
        return self._file.committed

    def _check_file(self, file: BankFile) -> None:
        check_complete(self.path, file.layout.sources, file.committed, "change")
        file.check_last_block()

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise BankError(f"{self.path}: this editor is closed; open the bank again")


def _commit_after(
    before: Commit, sources: tuple[BankSource, ...], n_rows: int, columns: Mapping[str, bytes]
) -> Commit:
    """The commit after more rows; a last list of known length is complete and does not grow."""
    grows = not sources or sources[-1].n_images is None
    return dataclasses.replace(
        before,
        n_rows=before.n_rows + n_rows,
        n_name_bytes=before.n_name_bytes + len(columns.get("names", b"")),
        n_consumed=before.n_consumed + (n_rows if grows else 0),
        row_generation=before.row_generation + bool(n_rows),
    )


def _capacity(needed: Commit, header: BankHeader) -> tuple[int, int]:
    """Rows and bytes of names to make room for: enough for many small changes without a copy."""
    n_rows = max(_LEAST_ROWS, int(needed.n_rows * _GROWTH))
    n_name_bytes = max(_LEAST_NAME_BYTES, int(needed.n_name_bytes * _GROWTH))
    return n_rows, n_name_bytes if header.has_names else 0
