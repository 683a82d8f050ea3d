"""Reads a code bank."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.commit import Commit, read_commit, read_deleted
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.layout import FILE_DIGEST_BYTES, Layout, read_layout, row_widths
from hashkit.bank.names import Names, NoNames
from hashkit.codes import check_codes
from hashkit.errors import BankError, CodesError

__all__ = ["Bank"]

_VERIFY_ROWS = 65_536
_OPEN_TRIES = 50


class Bank:
    """A code bank opened for reading with `Bank.open`.

    It holds the rows that were committed when it was opened. Use it as a context manager, or leave
    it to the garbage collector. Arrays taken from it stay valid after `close`.

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
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        commit: Commit,
        data: NDArray[np.uint8],
        deleted: NDArray[np.bool_] | None,
    ) -> None:
        self.path = path
        self.format_version = layout.format_version
        self.header = layout.header
        self.sources = layout.sources
        self.is_complete = commit.is_complete
        self.n_consumed = commit.n_consumed
        self.n_deleted = commit.n_deleted
        self._deleted = deleted
        self._layout = layout
        self._commit = commit
        self._data: NDArray[np.uint8] | None = data

    @classmethod
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
            with path.open("rb", buffering=0) as file:
                layout = read_layout(file, path)
                commit, deleted = _read_state(file, layout, path)
                return cls(path, layout, commit, _map(file), deleted)
        except FileNotFoundError:
            raise BankError(f"{path}: there is no such bank; `hashkit encode` makes one") from None
        except OSError as error:
            raise BankError(f"{path}: cannot be read ({error.strerror or error})") from None

    def close(self) -> None:
        """Release the file; reading from the bank is an error afterwards."""
        self._data = None

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
        state = "complete" if self.is_complete else "incomplete"
        return f"<Bank {self.path}: {len(self)} codes of {self.n_bits} bits, {state}>"

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
        return self._column("codes").reshape(len(self), self._width("codes"))

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
        text = self._bytes("names", self._commit.n_name_bytes)
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

    def verify(self) -> None:
        """Read every row and check what `open` does not: padding, names and labels.

        Raises
        ------
        BankError
            If a row is damaged.
        """
        for start in range(0, len(self), _VERIFY_ROWS):
            try:
                check_codes(self.codes[start : start + _VERIFY_ROWS], self.n_bits)
            except CodesError as error:
                raise BankError(f"{self.path}: damaged: {error}") from None
        for _ in self.names:
            pass
        labels, n_classes = self.labels, len(self.class_names)
        if labels is None or not labels.size:
            return
        single = self.header.label_kind == "single"
        low, high = (-1, n_classes - 1 if n_classes else None) if single else (0, 1)
        if labels.min() < low or (high is not None and labels.max() > high):
            raise BankError(
                f"{self.path}: damaged: expected labels from {low} to {high}, "
                f"found {labels.min()} to {labels.max()}"
            )

    def _width(self, name: str) -> int:
        return row_widths(self.header)[name]

    def _column(self, name: str) -> NDArray[np.uint8]:
        return self._bytes(name, len(self) * self._width(name))

    def _bytes(self, name: str, n_bytes: int) -> NDArray[np.uint8]:
        if self._data is None:
            raise BankError(f"{self.path}: the bank is closed; open it again")
        offset = self._layout.offsets[name]
        return self._data[offset : offset + n_bytes]


def _read_state(
    file: BinaryIO, layout: Layout, path: Path
) -> tuple[Commit, NDArray[np.bool_] | None]:
    """The commit record, and the mask of the rows that were deleted at that moment."""
    for _ in range(_OPEN_TRIES):
        commit = read_commit(file, layout, path)
        if not commit.n_deleted:
            return commit, None
        bitmap = read_deleted(file, layout, commit, path)
        if bitmap is not None:
            deleted = np.unpackbits(bitmap, count=commit.n_rows).view(np.bool_)
            deleted.setflags(write=False)
            return commit, deleted
    raise BankError(f"{path}: the deleted rows keep changing; open the bank again later")


def _map(file: BinaryIO) -> NDArray[np.uint8]:
    return np.memmap(file, dtype=np.uint8, mode="r")
