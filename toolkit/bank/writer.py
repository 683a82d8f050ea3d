"""Writing code banks so that a kill at any moment keeps every committed row.

Rows go to the file by plain positioned writes into room that HDF5 laid out beforehand; one
more write, of the commit record, makes them valid. A bank that needs another structure (more
room, less room, another source) is built beside the old one and put in its place atomically.
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

from hashkit.bank.commit import Commit
from hashkit.bank.compatibility import check_appendable, check_model, check_source, join_providers
from hashkit.bank.files import BankFile, create_bank, existing, followed, locked, writing
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.rows import encode_rows
from hashkit.errors import BankError

__all__ = ["BankWriter"]

_log = logging.getLogger(__name__)

_COMMIT_SECONDS: Final = 1.0
_GROWTH: Final = 1.5


class BankWriter:
    """The one writer of a code bank; made by `create`, `resume` or `append`.

    Leaving it as a context manager commits what was written and lets go of the file; only
    `complete` says that the job is finished.
    """

    def __init__(self, path: Path, lock: filelock.BaseFileLock, commit_seconds: float) -> None:
        self.path = path
        self._lock = lock
        self._file = BankFile(path)
        self._written = self._file.committed
        self._commit_seconds = commit_seconds
        self._committed_at = time.monotonic()

    @classmethod
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
            The file; missing folders above it are made.
        header
            What the bank says of itself.
        n_rows, n_name_bytes
            Rows, and bytes of their names in UTF-8, that are expected. More may come: the bank
            then grows, at the cost of a copy.
        overwrite
            Whether an existing file may be replaced.
        commit_seconds
            The least time between two commits that `write` makes by itself.

        Raises
        ------
        BankLockedError
            If another writer has it.
        BankError
            If the file exists and ``overwrite`` is False, or it cannot be written.
        """
        path = followed(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path) as (lock, keep):
            if path.exists() and not overwrite:
                raise BankError(
                    f"{path}: exists already; go on with it (--resume, the default for the same "
                    "job), add to it (--append) or replace it (--overwrite)"
                )
            sources = () if header.source is None else (header.source,)
            create_bank(path, header, sources, n_rows, n_name_bytes)
            writer = cls(path, lock, commit_seconds)
            keep.pop_all()
        return writer

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        header: BankHeader,
        *,
        allow_other_provider: bool = False,
        commit_seconds: float = _COMMIT_SECONDS,
    ) -> BankWriter:
        """Go on with a bank where its last writer stopped; a complete one is left as it is.

        Parameters
        ----------
        header
            What `create` would be given; the bank must agree with it.
        allow_other_provider
            Whether another runtime or provider may go on. Bits whose logit is near 0 may then
            differ within the bank, so it names all of them afterwards.

        Raises
        ------
        BankLockedError
            If another writer has it.
        BankMismatchError
            If version, bits, model, precision, classes, kind of labels, image list, or
            (without ``allow_other_provider``) runtime or provider differ.
        BankError
            If there is no such bank, or it cannot be read or written.
        """
        path = existing(path)
        with locked(path) as (lock, keep):
            writer = cls(path, lock, commit_seconds)
            keep.callback(writer._file.close)
            check_model(path, header, writer.header)
            check_source(path, header.source, writer.header.source)
            writer._admit_provider(header, allow_other_provider)
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

        If that list is the bank's last already, this is `resume`: the same command goes on.

        Parameters
        ----------
        n_rows, n_name_bytes
            Rows, and bytes of their names in UTF-8, that are expected in addition.

        Raises
        ------
        BankLockedError
            If another writer has it.
        BankMismatchError
            If it does not fit (see `resume`), or holds the list already.
        BankError
            If it is not complete, or cannot be read or written.
        """
        path = existing(path)
        with locked(path) as (lock, keep):
            writer = cls(path, lock, commit_seconds)
            keep.callback(writer._file.close)
            check_model(path, header, writer.header)
            source, sources = header.source, writer._file.layout.sources
            goes_on = source is not None and bool(sources) and source.is_same_list(sources[-1])
            if not goes_on:
                check_appendable(path, source, sources, writer._written)
            writer._admit_provider(header, allow_other_provider)
            if not goes_on:
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
        """Rows that a kill cannot take any more."""
        return self._file.committed.n_rows

    @property
    def n_consumed(self) -> int:
        """Images of the source list behind the committed rows: where to go on after a kill."""
        return self._file.committed.n_consumed

    @property
    def is_complete(self) -> bool:
        """Whether the job is finished."""
        return self._file.committed.is_complete

    @property
    def header(self) -> BankHeader:
        """What the bank says of itself."""
        return self._file.layout.header

    @property
    def sources(self) -> tuple[BankSource, ...]:
        """The bank's image lists, in the order in which they were added."""
        return self._file.layout.sources

    def write(
        self,
        codes: NDArray[np.uint8],
        names: Sequence[str],
        labels: NDArray[Any] | None = None,
        *,
        n_consumed: int,
    ) -> None:
        """Add rows; they are committed now if the last commit is long enough ago.

        Parameters
        ----------
        codes
            uint8 [n, ceil(n_bits / 8)]; n may be 0 when every image was skipped.
        names
            One name a row.
        labels
            int [n], -1 where none is known; or multi-hot [n, n_classes]; or None, as the
            header's ``label_kind`` says.
        n_consumed
            Images taken from the source list up to and with these rows, skipped ones included.

        Raises
        ------
        CodesError
            If the codes break the code convention.
        BankError
            If the rest does not fit, or the file cannot be written.
        """
        self._check_open()
        before = self._written
        try:
            columns = encode_rows(self.header, before, codes, names, labels)
        except BankError as error:
            raise BankError(f"{self.path}: {error}") from None
        n_name_bytes = before.n_name_bytes + len(columns["names"])
        after = dataclasses.replace(
            before,
            n_rows=before.n_rows + len(codes),
            n_name_bytes=n_name_bytes,
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
        if self._written != self._file.committed:
            self._file.commit(self._written)
        self._committed_at = time.monotonic()

    def complete(self) -> None:
        """Commit all rows, mark the bank as complete, and give back room that was not needed.

        Raises
        ------
        BankError
            If images of the source list are still to come, or the file cannot be written.
        """
        self._check_open()
        source = self.header.source
        if source is not None and self._written.n_consumed != source.n_images:
            raise BankError(
                f"{self.path}: expected all {source.n_images} images before completion, "
                f"found {self._written.n_consumed} taken"
            )
        self._written = dataclasses.replace(self._written, is_complete=True)
        self.flush()
        layout, done = self._file.layout, self._written
        used = (max(done.n_rows, 1), max(done.n_name_bytes, 1))
        if (layout.n_rows, layout.n_name_bytes) != used:
            self._file.rebuild(layout.header, layout.sources, *used, done)

    def close(self) -> None:
        """Commit all rows, and let go of the file; a second call does nothing.

        Raises
        ------
        BankError
            If the file cannot be written; it is let go of all the same.
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
            _log.warning("%s", failure)  # the error on its way out says more

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

    def _admit_provider(self, header: BankHeader, allow_other: bool) -> None:
        layout = self._file.layout
        joined = join_providers(self.path, header, layout.header, allow_other)
        if joined != layout.header:
            self._file.rebuild(
                joined, layout.sources, layout.n_rows, layout.n_name_bytes, self._written
            )

    def _check_open(self) -> None:
        if not self._file.is_open:
            raise BankError(f"{self.path}: this writer is closed; resume the bank to go on")

    def _check_progress(self, after: Commit) -> None:
        before, source = self._written, self.header.source
        if before.is_complete:
            raise BankError(f"{self.path}: the bank is complete; add other images with --append")
        least = before.n_consumed + after.n_rows - before.n_rows
        most = None if source is None else source.n_images
        if after.n_consumed < least or (most is not None and after.n_consumed > most):
            raise BankError(
                f"{self.path}: expected n_consumed to be at least {least}"
                f"{'' if most is None else f' and at most {most}'}, found {after.n_consumed}"
            )


def _grown(capacity: int, needed: int) -> int:
    return capacity if needed <= capacity else max(needed, math.ceil(capacity * _GROWTH))
