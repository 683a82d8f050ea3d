"""Writes code banks so that a kill at any moment keeps every committed row.

Rows are written at fixed positions into space that HDF5 allocated beforehand; writing the commit
record then makes them valid. A bank that needs another structure (more space, less space, another
source) is written to a new file, which then replaces the old one atomically.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import filelock
import numpy as np
from numpy.typing import NDArray

from hashkit.bank.bankfile import BankFile, create_bank
from hashkit.bank.commit import Commit
from hashkit.bank.compatibility import check_appendable, check_model, check_source
from hashkit.bank.files import existing_bank, locked, locked_new, resolve_link
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.rows import encode_rows
from hashkit.errors import BankError
from hashkit.inputs.arguments import checked_arguments, whole_number

__all__ = ["BankWriter"]

_log = logging.getLogger(__name__)

_COMMIT_SECONDS: Final = 1.0
_GROWTH: Final = 1.5


class BankWriter:
    """The only writer of a code bank; made by `create`, `resume` or `append`.

    As a context manager it commits the written rows and closes the file on exit. Only `complete`
    marks the job as finished.
    """

    def __init__(self, path: Path, lock: filelock.BaseFileLock, commit_seconds: float) -> None:
        self.path = path
        self._lock = lock
        self._file = BankFile(path)
        self._written = self._file.committed
        self._commit_seconds = commit_seconds
        self._committed_at = time.monotonic()

    @classmethod
    @checked_arguments
    def create(
        cls,
        path: str | os.PathLike[str],
        header: BankHeader,
        *,
        n_rows: int,
        n_name_bytes: int,
        overwrite: bool = False,
        commit_seconds: float = _COMMIT_SECONDS,
    ) -> BankWriter:
        """Start a new bank.

        Parameters
        ----------
        path
            The file; missing parent folders are created.
        header
            The bank's metadata.
        n_rows, n_name_bytes
            Expected number of rows, and bytes of their names in UTF-8. If there are more, the bank
            grows, which copies it.
        overwrite
            Whether an existing file may be replaced.
        commit_seconds
            Minimum time between two automatic commits by `write`, seconds.

        Raises
        ------
        BankLockedError
            If another process is writing the bank.
        BankError
            If the file exists and ``overwrite`` is False, or it cannot be written.
        """
        n_rows = whole_number(n_rows, "n_rows", 0)
        n_name_bytes = whole_number(n_name_bytes, "n_name_bytes", 0)
        path = resolve_link(path)
        instead = "continue it with BankWriter.resume, add to it with BankWriter.append"
        with locked_new(path, overwrite=overwrite, instead=instead) as (lock, keep):
            create_bank(path, header, n_rows, n_name_bytes)
            writer = cls(path, lock, commit_seconds)
            keep.pop_all()
        return writer

    @classmethod
    @checked_arguments
    def resume(
        cls,
        path: str | os.PathLike[str],
        header: BankHeader,
        *,
        allow_other_provider: bool = False,
        commit_seconds: float = _COMMIT_SECONDS,
    ) -> BankWriter:
        """Continue a bank where its last writer stopped; a complete bank is not changed.

        Parameters
        ----------
        header
            The header that `create` would take; the bank's must match it.
        allow_other_provider
            Whether another runtime or provider may continue the bank. Bits whose logit is near 0
            may then differ within the bank, so its header names all that were used.

        Raises
        ------
        BankLockedError
            If another process is writing the bank.
        BankMismatchError
            If version, bits, model, precision, classes, kind of labels, image list, or
            (without ``allow_other_provider``) runtime or provider differ.
        BankError
            If there is no such bank, or it cannot be read or written.
        """
        path = existing_bank(path)
        with locked(path) as (lock, keep):
            writer = cls(path, lock, commit_seconds)
            keep.callback(writer._file.close)
            check_model(path, header, writer.header)
            check_source(path, header.source, writer.header.source)
            if not writer.is_complete:
                writer._file.check_last_block()
            writer._file.admit(header, allow_other_provider=allow_other_provider)
            keep.pop_all()
        return writer

    @classmethod
    def append(
        cls,
        path: str | os.PathLike[str],
        header: BankHeader,
        *,
        n_rows: int,
        n_name_bytes: int,
        allow_other_provider: bool = False,
        commit_seconds: float = _COMMIT_SECONDS,
    ) -> BankWriter:
        """Add another list of images, ``header.source``, to a complete bank.

        If that list is already the bank's last one, this is the same as `resume`.

        Parameters
        ----------
        n_rows, n_name_bytes
            Expected number of additional rows, and bytes of their names in UTF-8.

        Raises
        ------
        BankLockedError
            If another process is writing the bank.
        BankMismatchError
            If the bank does not match ``header`` (see `resume`), or contains the list already.
        BankError
            If the bank is not complete, or cannot be read or written.
        """
        path = existing_bank(path)
        with locked(path) as (lock, keep):
            writer = cls(path, lock, commit_seconds)
            keep.callback(writer._file.close)
            check_model(path, header, writer.header)
            source, sources = header.source, writer._file.layout.sources
            is_last = source is not None and bool(sources) and source.is_same_list(sources[-1])
            if not is_last:
                check_appendable(path, source, sources, writer._written)
            if not (is_last and writer.is_complete):
                writer._file.check_last_block()
            writer._file.admit(header, allow_other_provider=allow_other_provider)
            if not is_last:
                done = writer._written
                writer._file.rebuild(
                    writer.header,
                    sources if source is None else (*sources, source),
                    done.n_rows + n_rows,
                    done.n_name_bytes + n_name_bytes,
                    dataclasses.replace(done, n_consumed=0, is_complete=False),
                )
                writer._written = writer._file.committed
            keep.pop_all()
        return writer

    @property
    def n_committed(self) -> int:
        """Number of committed rows, which survive a kill."""
        return self._file.committed.n_rows

    @property
    def n_consumed(self) -> int:
        """Images of the source list that are committed: where to continue after a kill."""
        return self._file.committed.n_consumed

    @property
    def is_complete(self) -> bool:
        """Whether the job is finished."""
        return self._file.committed.is_complete

    @property
    def header(self) -> BankHeader:
        """The bank's metadata."""
        return self._file.layout.header

    @property
    def sources(self) -> tuple[BankSource, ...]:
        """The bank's image lists, in the order in which they were added."""
        return self._file.layout.sources

    def write(
        self,
        codes: NDArray[np.uint8],
        names: Sequence[str] | None = None,
        labels: NDArray[Any] | None = None,
        *,
        files: ImageFiles | None = None,
        n_consumed: int,
    ) -> None:
        """Add rows, and commit them if ``commit_seconds`` have passed since the last commit.

        Parameters
        ----------
        codes
            uint8 [n, ceil(n_bits / 8)]; n may be 0 when every image was skipped.
        names
            One name per row; None for rows without names.
        labels
            int [n], -1 where unknown; or multi-hot [n, n_classes]; or None, according to the
            header's ``label_kind``.
        files
            The rows' image files, where known; not stored if the bank has no columns for them.
        n_consumed
            Images processed from the source list so far, including these and skipped ones.

        Raises
        ------
        CodesError
            If the codes break the code convention.
        BankError
            If names, labels or ``n_consumed`` are invalid, or the file cannot be written.
        """
        self._check_open()
        before = self._written
        try:
            columns = encode_rows(self.header, before, codes, names, labels, files)
        except BankError as error:
            raise BankError(f"{self.path}: {error}") from None
        after = dataclasses.replace(
            before,
            n_rows=before.n_rows + len(codes),
            n_name_bytes=before.n_name_bytes + len(columns.get("names", b"")),
            n_consumed=n_consumed,
        )
        self._check_progress(after)
        self._make_room(after)
        self._file.write(columns, before)
        self._written = after
        if time.monotonic() - self._committed_at >= self._commit_seconds:
            self.flush()

    def flush(self) -> None:
        """Commit all rows written so far.

        Raises
        ------
        BankError
            If the file cannot be written.
        """
        self._check_open()
        done = self._file.committed
        has_new_rows = self._written.n_rows != done.n_rows
        self._written = dataclasses.replace(
            self._written, row_generation=done.row_generation + has_new_rows
        )
        if self._written != done:
            self._file.commit(self._written)
        self._committed_at = time.monotonic()

    def complete(self) -> None:
        """Commit all rows, mark the bank as complete and remove unused space.

        Raises
        ------
        BankError
            If not all images of the source list were processed, or the file cannot be written.
        """
        self._check_open()
        source = self.header.source
        n_images = None if source is None else source.n_images
        if n_images is not None and self._written.n_consumed != n_images:
            raise BankError(
                f"{self.path}: expected all {n_images} images before completion, "
                f"found {self._written.n_consumed}"
            )
        layout, done = self._file.layout, self._written
        used = (max(done.n_rows, 1), max(done.n_name_bytes, 1) if layout.header.has_names else 0)
        has_room = (layout.n_rows, layout.n_name_bytes) != used
        if has_room:
            self.flush()
        self._written = dataclasses.replace(self._written, is_complete=True)
        # The old file is not marked as complete, so if this process is killed, there will be a next
        # writer, which removes the unfinished new file.
        if has_room:
            self._file.rebuild(layout.header, layout.sources, *used, self._written)
        else:
            self.flush()

    def close(self) -> None:
        """Commit all rows and close the file; a second call does nothing.

        Raises
        ------
        BankError
            If the file cannot be written; it is closed in any case.
        """
        if not self._lock.is_locked:
            return
        try:
            self.flush()
        finally:
            self._file.close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except BankError as failure:
            if error is None:
                raise
            _log.warning("%s", failure)  # the original error is more useful to the caller

    def _make_room(self, after: Commit) -> None:
        layout = self._file.layout
        if after.n_rows <= layout.n_rows and after.n_name_bytes <= layout.n_name_bytes:
            return
        self.flush()
        self._file.rebuild(
            layout.header,
            layout.sources,
            _grown(layout.n_rows, after.n_rows),
            _grown(layout.n_name_bytes, after.n_name_bytes),
            self._written,
        )

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise BankError(f"{self.path}: this writer is closed; resume the bank to continue")

    def _check_progress(self, after: Commit) -> None:
        before, source = self._written, self.header.source
        if before.is_complete:
            raise BankError(f"{self.path}: the bank is complete; add to it with BankWriter.append")
        least = before.n_consumed + after.n_rows - before.n_rows
        most = None if source is None else source.n_images
        if after.n_consumed < least or (most is not None and after.n_consumed > most):
            raise BankError(
                f"{self.path}: expected `n_consumed` to be at least {least}"
                f"{'' if most is None else f' and at most {most}'}, found {after.n_consumed}"
            )


def _grown(capacity: int, needed: int) -> int:
    return capacity if needed <= capacity else max(needed, math.ceil(capacity * _GROWTH))
