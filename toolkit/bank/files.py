"""Keeps a bank consistent on disk: the lock, atomic replacement and the order of writes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Self

import filelock
import numpy as np
from numpy.typing import NDArray

from hashkit.bank.commit import Commit, read_commit, read_deleted
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.layout import bitmap_size, create_file, read_layout, row_widths
from hashkit.errors import BankError, BankLockedError

__all__ = [
    "BankFile",
    "create_bank",
    "existing_bank",
    "locked",
    "replacing",
    "resolve_link",
    "write_errors",
]

_COPY_BYTES: Final = 4 << 20


def resolve_link(path: str | os.PathLike[str]) -> Path:
    """Resolve a symbolic link, so that replacing the file does not replace the link."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path


def existing_bank(path: str | os.PathLike[str]) -> Path:
    """Path of an existing bank, with a symbolic link resolved.

    Raises
    ------
    BankError
        If the file does not exist.
    """
    path = resolve_link(path)
    if not path.exists():
        raise BankError(f"{path}: there is no such bank; `hashkit encode` makes one")
    return path


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert an `OSError` into a `BankError` about the bank at ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise BankError(
            f"{path}: cannot be written ({reason}); fix that and run the same command again: "
            "the committed rows are kept"
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[tuple[filelock.BaseFileLock, contextlib.ExitStack]]:
    """Lock ``path`` for one writer; the lock is released on exit unless the caller pops the stack.

    The lock file is not removed: otherwise two processes could lock two files of the same name.
    The operating system releases the lock when the process dies.
    """
    # Not per thread: a pipeline may make the writer in one thread and close it in another.
    lock = filelock.FileLock(f"{path}.lock", blocking=False, thread_local=False)
    with contextlib.ExitStack() as keep:
        with write_errors(path):
            _acquire(lock, path)
        keep.callback(lock.release)
        with write_errors(path):
            _replacement(path).unlink(missing_ok=True)  # left by a killed writer
        yield lock, keep


def create_bank(
    path: Path, header: BankHeader, sources: tuple[BankSource, ...], n_rows: int, n_name_bytes: int
) -> None:
    """Create an empty bank with room for ``n_rows`` rows at ``path``, atomically."""
    with replacing(path) as new:
        create_file(new, header, sources, n_rows, n_name_bytes)
        with BankFile(new, is_new=True) as file:
            file.commit(Commit())


class BankFile:
    """An open bank file whose lock is held; rows are written first and made valid by a commit.

    Attributes
    ----------
    layout
        The file's structure.
    committed
        The current commit record.
    """

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        self._path = path
        self._open(is_new)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return not self._file.closed

    def close(self) -> None:
        """Close the file without a commit; a second call does nothing."""
        self._file.close()

    def write(self, columns: Mapping[str, bytes], before: Commit) -> None:
        """Write the rows that follow ``before``, by dataset; they are valid after `commit`."""
        widths = row_widths(self.layout.header)
        with write_errors(self._path):
            for name, data in columns.items():
                is_text = name == "names"
                row = before.n_name_bytes if is_text else before.n_rows * widths[name]
                _write_at(self._file, self.layout.offsets[name] + row, data)

    def commit(self, commit: Commit) -> None:
        """Flush the rows to the disk, then write ``commit``."""
        record = commit.to_bytes(self.layout.format_version)
        with write_errors(self._path):
            os.fsync(self._file.fileno())
            _write_at(self._file, self.layout.offsets["commit"], record)
            os.fsync(self._file.fileno())
        self.committed = commit

    def read_deleted(self) -> NDArray[np.uint8]:
        """Bitmap of the deleted rows: uint8 [ceil(n_rows / 8)], packed like codes.

        Raises
        ------
        BankError
            If it is damaged.
        """
        with write_errors(self._path):
            bitmap = read_deleted(self._file, self.layout, self.committed, self._path)
        if bitmap is None:
            raise BankError(f"{self._path}: the commit record is damaged; another program wrote it")
        return bitmap

    def commit_deleted(self, bitmap: NDArray[np.uint8]) -> None:
        """Replace the bitmap of deleted rows atomically; ``bitmap`` is as from `read_deleted`.

        It is written to the unused slot, which exists from format version 2 on.
        """
        commit = dataclasses.replace(
            self.committed,
            n_deleted=int(np.bitwise_count(bitmap).sum()),
            generation=self.committed.generation + 1,
        )
        with write_errors(self._path):
            offset = self.layout.deleted_offset(commit.deleted_slot)
            _write_at(self._file, offset, bitmap.tobytes())
        self.commit(commit)

    def rebuild(
        self,
        header: BankHeader,
        sources: tuple[BankSource, ...],
        n_rows: int,
        n_name_bytes: int,
        commit: Commit,
        format_version: int | None = None,
    ) -> None:
        """Replace this file by one with another structure and the same committed rows.

        The format version stays the same unless another is given.
        """
        version = format_version or self.layout.format_version
        try:
            with replacing(self._path) as new:
                create_file(new, header, sources, n_rows, n_name_bytes, version)
                with BankFile(new, is_new=True) as successor:
                    self._copy_to(successor)
                    successor.commit(commit)
                self.close()  # Windows cannot replace an open file
        finally:
            if not self.is_open:
                self._open(is_new=False)

    def _open(self, is_new: bool) -> None:
        with write_errors(self._path):
            self._file = self._path.open("r+b", buffering=0)
        try:
            self.layout = read_layout(self._file, self._path)
            self.committed = (
                Commit() if is_new else read_commit(self._file, self.layout, self._path)
            )
        except BaseException:
            self.close()
            raise

    def _copy_to(self, other: BankFile) -> None:
        widths = row_widths(self.layout.header)
        sizes = {name: self.committed.n_rows * width for name, width in widths.items()}
        sizes["names"] = self.committed.n_name_bytes
        for name, n_bytes in sizes.items():
            source_at, target_at = self.layout.offsets[name], other.layout.offsets[name]
            _copy(self._file, source_at, other._file, target_at, n_bytes)
        if self.committed.n_deleted:
            slot, size = self.committed.deleted_slot, bitmap_size(self.committed.n_rows)
            source_at, target_at = (file.layout.deleted_offset(slot) for file in (self, other))
            _copy(self._file, source_at, other._file, target_at, size)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file that then replaces ``path`` atomically."""
    new = _replacement(path)
    try:
        with write_errors(path):
            yield new
            new.replace(path)
            _sync_folder(path.parent)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _replacement(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _acquire(lock: filelock.BaseFileLock, path: Path) -> None:
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BankLockedError(
            f"{path}: another process is writing this bank; wait for it to end, "
            "or write another file"
        ) from None


def _write_at(file: BinaryIO, offset: int, data: bytes) -> None:
    view = memoryview(data)
    file.seek(offset)
    while view:  # one call may write only a part: near a full disk, or beyond 2 GiB
        view = view[file.write(view) :]


def _copy(source: BinaryIO, source_at: int, target: BinaryIO, target_at: int, n_bytes: int) -> None:
    for done in range(0, n_bytes, _COPY_BYTES):
        expected = min(n_bytes - done, _COPY_BYTES)
        source.seek(source_at + done)
        data = source.read(expected)
        if len(data) != expected:
            raise OSError(f"expected {expected} bytes of rows to copy, found {len(data)}")
        _write_at(target, target_at + done, data)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
