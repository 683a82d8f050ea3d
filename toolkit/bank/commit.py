"""The commit record of a code bank: how many rows are valid, and which rows are deleted."""

from __future__ import annotations

import dataclasses
import struct
import time
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.layout import COMMIT_WORDS, Layout, bitmap_size, checksum_columns
from hashkit.errors import BankError

__all__ = ["Commit", "read_commit", "read_deleted", "read_tail"]

_RECORDS: Final = {version: struct.Struct(f"<{n}Q") for version, n in COMMIT_WORDS.items()}
_TRIES: Final = 50
_IMPOSSIBLE_COUNT: Final = 2**63
"""Far above any real count of images or changes; a larger count could not be incremented."""


@dataclasses.dataclass(frozen=True)
class Commit:
    """How much of a bank is valid; the only part of the file that is overwritten in place.

    Attributes
    ----------
    n_rows, n_name_bytes
        Number of valid rows, and of valid bytes of names.
    n_consumed
        Images processed from the last source list, including those that gave no row.
    is_complete
        Whether the job that writes the bank has finished.
    n_deleted
        Number of deleted rows.
    deletion_generation
        How often the set of deleted rows has changed; it determines `deleted_slot`.
    row_generation
        How often rows were added or changed, from format version 3 on; it determines `tail_slot`.
    """

    n_rows: int = 0
    n_name_bytes: int = 0
    n_consumed: int = 0
    is_complete: bool = False
    n_deleted: int = 0
    deletion_generation: int = 0
    row_generation: int = 0

    @property
    def deleted_slot(self) -> int:
        """Which of the two bitmaps of deleted rows is valid; the other may hold anything."""
        return self.deletion_generation % 2

    @property
    def tail_slot(self) -> int:
        """Which of the two rows of checksums of the last rows is valid."""
        return self.row_generation % 2

    def to_bytes(self, format_version: int) -> bytes:
        """The commit record: little-endian uint64, the last a CRC-32 of the others."""
        values = [self.n_rows, self.n_name_bytes, self.n_consumed, int(self.is_complete)]
        if format_version > 1:
            values += [self.n_deleted, self.deletion_generation]
        if format_version > 2:
            values.append(self.row_generation)
        record = _RECORDS[format_version]
        return record.pack(*values, zlib.crc32(record.pack(*values, 0)[:-8]))

    @classmethod
    def from_bytes(cls, record: bytes, format_version: int) -> Commit | None:
        """Parse a commit record; None if it is truncated or its checksum does not match."""
        words = _RECORDS[format_version]
        if len(record) != words.size:
            return None
        n_rows, n_name_bytes, n_consumed, complete, *rest, check = words.unpack(record)
        if check != zlib.crc32(record[:-8]):
            return None
        return cls(n_rows, n_name_bytes, n_consumed, bool(complete), *rest)


def read_commit(file: BinaryIO, layout: Layout, path: Path) -> Commit:
    """Read the commit record of an open bank file, and check it against the file's capacity.

    Raises
    ------
    BankError
        If the record is damaged, or contradicts the rest of the file.
    """
    for _ in range(_TRIES):
        commit = _read_record(file, layout)
        if commit is not None:
            _check_commit(file, layout, commit, path)
            return commit
        # The writer may be in the middle of overwriting the record.
        time.sleep(0.001)
    raise BankError(
        f"{path}: the commit record is damaged; make the bank again with `overwrite=True`"
    )


def read_deleted(
    file: BinaryIO, layout: Layout, commit: Commit, path: Path
) -> NDArray[np.uint8] | None:
    """Read the bitmap of deleted rows of an open bank file.

    Returns
    -------
    NDArray or None
        uint8 [ceil(n_rows / 8)], packed like codes; None if a writer has changed the deleted rows
        since ``commit`` was read, in which case read the commit record again.

    Raises
    ------
    BankError
        If the number of marked rows is not that of the commit record.
    """
    size = bitmap_size(commit.n_rows)
    if not commit.n_deleted:
        return np.zeros(size, dtype=np.uint8)
    stored, is_whole = _read_bitmap(file, layout, commit.deleted_slot)
    bitmap = stored[:size]
    # A writer fills the unused slot, so this one has changed only if two commits came in between.
    now = _read_record(file, layout)
    if now is None or now.deletion_generation != commit.deletion_generation:
        return None
    n_set = int(np.bitwise_count(bitmap).sum())
    if len(bitmap) != size or n_set != commit.n_deleted:
        raise BankError(
            f"{path}: damaged: expected {commit.n_deleted} deleted rows, found {n_set} marked"
        )
    if not is_whole:
        raise BankError(
            f"{path}: damaged: the marks of deleted rows do not match their checksum; restore a "
            "copy of the bank, or make it again with `overwrite=True`"
        )
    return bitmap


def read_tail(file: BinaryIO, layout: Layout, commit: Commit) -> tuple[int, ...] | None:
    """Read the checksums of the rows after the last whole block of an open bank file.

    Returns
    -------
    tuple or None
        One checksum per column, none for a format version that has no checksums; None if a writer
        has added rows since ``commit`` was read, in which case read the commit record again.
    """
    if not layout.has_checksums:
        return ()
    size = 4 * len(checksum_columns(layout.header))
    file.seek(layout.offsets["tail_checksums"] + commit.tail_slot * size)
    tail = np.frombuffer(file.read(size), "<u4")
    # As for the bitmap: the slot is written again only after the next commit.
    now = _read_record(file, layout)
    is_valid = now is not None and now.row_generation == commit.row_generation
    return tuple(tail.tolist()) if is_valid else None


def _read_bitmap(file: BinaryIO, layout: Layout, slot: int) -> tuple[NDArray[np.uint8], bool]:
    """One of the bitmaps of deleted rows, at full capacity, and whether its checksum matches."""
    file.seek(layout.deleted_offset(slot))
    bitmap = np.frombuffer(file.read(bitmap_size(layout.n_rows)), dtype=np.uint8)
    if "deleted_checksums" not in layout.offsets:
        return bitmap, True
    file.seek(layout.offsets["deleted_checksums"] + 4 * slot)
    return bitmap, int.from_bytes(file.read(4), "little") == zlib.crc32(bitmap.data)


def _read_record(file: BinaryIO, layout: Layout) -> Commit | None:
    file.seek(layout.offsets["commit"])
    record = file.read(_RECORDS[layout.format_version].size)
    return Commit.from_bytes(record, layout.format_version)


def _check_commit(file: BinaryIO, layout: Layout, commit: Commit, path: Path) -> None:
    if commit.n_rows > layout.n_rows or commit.n_name_bytes > layout.n_name_bytes:
        raise BankError(
            f"{path}: damaged: {commit.n_rows} rows and {commit.n_name_bytes} bytes of names are "
            f"committed, but there is room for {layout.n_rows} and {layout.n_name_bytes}"
        )
    if commit.n_deleted > commit.n_rows:
        raise BankError(
            f"{path}: damaged: {commit.n_deleted} of {commit.n_rows} rows are marked as deleted"
        )
    counts = (commit.n_consumed, commit.deletion_generation, commit.row_generation)
    if max(counts) >= _IMPOSSIBLE_COUNT:
        raise BankError(f"{path}: damaged: the commit record has a count of {max(counts)}")
    end = 0
    if commit.n_rows and layout.header.has_names:
        file.seek(layout.offsets["name_ends"] + 8 * (commit.n_rows - 1))
        end = int.from_bytes(file.read(8), "little")
    if end != commit.n_name_bytes:
        raise BankError(
            f"{path}: damaged: the last name should end at byte {commit.n_name_bytes}, "
            f"but name_ends says {end}"
        )
