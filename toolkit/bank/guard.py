"""Notices that the file of an open bank was cut off or overwritten by another program."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import BinaryIO

from hashkit.bank.commit import Commit, read_commit
from hashkit.bank.layout import Layout, read_layout
from hashkit.errors import BankError

__all__ = ["FileGuard"]

_REMEDY = (
    "open it again, and replace a bank by renaming another file over it, never by writing into it"
)


class FileGuard:
    """Keeps a bank's file open, to check it before the mapped rows are read.

    Reading a mapped file that has become shorter ends the process with SIGBUS, and one that was
    overwritten gives rows of two banks. Rows that a writer adds are not an error.

    Parameters
    ----------
    file
        The open file; it may be closed afterwards.
    layout, commit
        What was read from it.
    """

    def __init__(self, file: BinaryIO, layout: Layout, commit: Commit, path: Path) -> None:
        self._path = path
        self._layout = layout
        self._commit = commit
        self._lock = threading.Lock()
        self._handle = os.dup(file.fileno())
        self._close = weakref.finalize(self, os.close, self._handle)
        status = os.fstat(self._handle)
        self._size = status.st_size
        self._seen = status.st_size, status.st_mtime_ns

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._close()

    def check(self) -> None:
        """Check the file: a microsecond while it does not change, a millisecond after a change.

        Raises
        ------
        BankError
            If it is shorter than when it was opened, or no longer holds the same bank.
        """
        status = os.fstat(self._handle)
        seen = status.st_size, status.st_mtime_ns
        if seen == self._seen:
            return
        if status.st_size < self._size:
            raise BankError(
                f"{self._path}: expected the {self._size:,} bytes that it had when it was opened, "
                f"found {status.st_size:,}: another program truncated it; {_REMEDY}"
            )
        with self._lock, open(self._handle, "rb", buffering=0, closefd=False) as file:
            self._check_content(file)
        self._seen = seen

    def is_current(self) -> bool:
        """Whether the file of this name is still the open one, and no writer has changed it.

        Raises
        ------
        BankError
            If there is no file, or its state cannot be read.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise BankError(f"{self._path}: cannot be read ({error.strerror or error})") from None
        # The inode number of an open file is not reused.
        if not os.path.samestat(status, os.fstat(self._handle)):
            return False
        try:
            self.check()
            with self._lock, open(self._handle, "rb", buffering=0, closefd=False) as file:
                return read_commit(file, self._layout, self._path) == self._commit
        except BankError:
            return False

    def _check_content(self, file: BinaryIO) -> None:
        try:
            layout = read_layout(file, self._path)
            commit = read_commit(file, layout, self._path)
        except BankError:
            is_same = False
        else:
            has_rows = (
                commit.n_rows >= self._commit.n_rows
                and commit.row_generation >= self._commit.row_generation
            )
            is_same = layout == self._layout and has_rows
        if not is_same:
            raise BankError(
                f"{self._path}: expected the bank that was opened, found other content in the same "
                f"file: another program wrote over it; {_REMEDY}"
            )
