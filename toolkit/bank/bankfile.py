"""An open bank file of a writer: the order of its writes keeps it consistent."""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.checksums import RowChecksums, checksums_of_rows, encode_checksums
from hashkit.bank.commit import Commit, read_commit, read_deleted
from hashkit.bank.compatibility import join_providers
from hashkit.bank.files import replacing, write_errors
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.layout import (
    bitmap_size,
    checksum_columns,
    create_file,
    new_identity,
    read_layout,
    row_widths,
)
from hashkit.errors import BankError
from hashkit.inputs.opening import check_file
from hashkit.rows_digest import BLOCK_ROWS

__all__ = ["BankFile", "create_bank"]

_COPY_BYTES: Final = 4 << 20


def create_bank(
    path: Path,
    header: BankHeader,
    n_rows: int,
    n_name_bytes: int,
    *,
    is_complete: bool = False,
) -> None:
    """Create an empty bank with room for ``n_rows`` rows at ``path``, atomically."""
    sources = () if header.source is None else (header.source,)
    with replacing(path) as new:
        create_file(new, header, sources, n_rows, n_name_bytes, new_identity())
        with BankFile(new, is_new=True) as file:
            file.commit(Commit(is_complete=is_complete))


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
        self._is_new = is_new
        self._widths: dict[str, int] = {}
        self._checksums: RowChecksums | None = None
        self.committed = Commit()
        self._open()

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
        with write_errors(self._path):
            for name, data in columns.items():
                is_text = name == "names"
                row = before.n_name_bytes if is_text else before.n_rows * self._widths[name]
                self._put(name, row, data)
            if self._checksums is None:
                return
            if self._checksums.n_rows != before.n_rows:  # the last rows were not committed
                self._checksums = self._computed(before)
            checksums, whole = self._checksums.continued(columns, before.n_name_bytes)
            for block, found in whole:
                self._put("checksums", block * 4 * len(found), encode_checksums(found))
        self._checksums = checksums

    def commit(self, commit: Commit, deleted: NDArray[np.uint8] | None = None) -> None:
        """Flush the rows and their checksums to the disk, then write ``commit``.

        Parameters
        ----------
        deleted
            The new bitmap of deleted rows, in the form of `read_deleted`, if it has changed; it
            becomes valid with the commit. Format version 1 has none.
        """
        if deleted is not None:
            commit = dataclasses.replace(
                commit,
                n_deleted=int(np.bitwise_count(deleted).sum()),
                deletion_generation=self.committed.deletion_generation + 1,
            )
        record = commit.to_bytes(self.layout.format_version)
        with write_errors(self._path):
            self._check_place()
            if deleted is not None:
                self._put_deleted(deleted, commit.deleted_slot)
            # A commit without new rows must not overwrite the row of checksums that is in use.
            is_other_slot = commit.row_generation != self.committed.row_generation
            if self._checksums is not None and (is_other_slot or self._is_new):
                if self._checksums.n_rows != commit.n_rows:  # Ctrl-C ended the last write
                    self._checksums = self._computed(commit)
                tail = encode_checksums(self._checksums.tail)
                self._put("tail_checksums", commit.tail_slot * len(tail), tail)
            os.fsync(self._file.fileno())
            self._put("commit", 0, record)
            os.fsync(self._file.fileno())
        self.committed = commit
        self._is_new = False

    def check_last_block(self) -> None:
        """Check the last block of committed rows against its checksums.

        Raises
        ------
        BankError
            If a column does not match.
        """
        n_rows = self.committed.n_rows
        if self._checksums is None or not n_rows:
            return
        start = (n_rows - 1) // BLOCK_ROWS * BLOCK_ROWS
        with write_errors(self._path):
            found = self._checksums_of(start, n_rows, self.committed)
            expected = self._stored_checksums(start // BLOCK_ROWS)
        for column, old, new in zip(self._columns, expected, found, strict=True):
            if old != new:
                raise BankError(
                    f"{self._path}: damaged: expected the checksum {old:08x} of {column} of rows "
                    f"{start} to {n_rows - 1}, found other bytes; `hashkit verify` lists every "
                    "fault: restore a copy of the bank, or make it again with `overwrite=True`"
                )

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

    def reread(self) -> None:
        """Go back to the state of the file, which is closed if it cannot be read."""
        with write_errors(self._path):
            self._load()

    def admit(self, header: BankHeader, *, allow_other_provider: bool) -> None:
        """Record the runtime, provider and resampler of ``header``, from which rows will come.

        Raises
        ------
        BankMismatchError
            If the bank was made with others, unless that is allowed.
        """
        layout = self.layout
        joined = join_providers(self._path, header, layout.header, allow_other_provider)
        if joined != layout.header:
            room = layout.n_rows, layout.n_name_bytes
            self.rebuild(joined, layout.sources, *room, self.committed)

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

        The identity stays the same, and so does the format version unless another is given.
        """
        version = format_version or self.layout.format_version
        identity = self.layout.identity or new_identity()
        try:
            with replacing(self._path) as new:
                self._check_place()
                create_file(new, header, sources, n_rows, n_name_bytes, identity, version)
                with BankFile(new, is_new=True) as successor:
                    self._copy_to(successor)
                    successor.commit(commit)
                self.close()  # Windows cannot replace an open file
        finally:
            if not self.is_open:
                self._open()

    def is_in_place(self) -> bool:
        """Whether the file of this name is still the open one.

        Raises
        ------
        OSError
            If this cannot be determined.
        """
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> None:
        with write_errors(self._path):
            check_file(self._path)
            self._file = self._path.open("r+b", buffering=0)
        self._load()

    def _load(self) -> None:
        try:
            self.layout = read_layout(self._file, self._path)
            if not self._is_new:
                self.committed = read_commit(self._file, self.layout, self._path)
            self._columns = checksum_columns(self.layout.header)
            self._widths = row_widths(self.layout.header)
            self._checksums = self._open_checksums()
        except BaseException:
            self.close()
            raise

    def _check_place(self) -> None:
        """Check that no other file has replaced this one; new rows would be lost."""
        if not self.is_in_place():
            raise BankError(
                f"{self._path}: expected the bank that is being written, found another file or "
                "none: another program removed or replaced it; open it again"
            )

    def _open_checksums(self) -> RowChecksums | None:
        """The checksums to continue; None for a format version that has none."""
        if not self.layout.has_checksums:
            return None
        n_rows, tail = self.committed.n_rows, (0,) * len(self._columns)
        if not self._is_new:
            tail = self._stored_checksums(n_rows // BLOCK_ROWS)
        return RowChecksums(self._columns, self._widths, n_rows, tail)

    def _stored_checksums(self, block: int) -> tuple[int, ...]:
        """Stored checksums of a whole block, or of the rows after the last whole one."""
        size, dataset, number = 4 * len(self._columns), "checksums", block
        if block == self.committed.n_rows // BLOCK_ROWS:
            dataset, number = "tail_checksums", self.committed.tail_slot
        return tuple(np.frombuffer(self._read(dataset, number * size, size), "<u4").tolist())

    def _computed(self, commit: Commit) -> RowChecksums:
        """The checksums to continue, computed from the rows after the last whole block."""
        start = commit.n_rows // BLOCK_ROWS * BLOCK_ROWS
        tail = self._checksums_of(start, commit.n_rows, commit)
        return RowChecksums(self._columns, self._widths, commit.n_rows, tail)

    def _checksums_of(
        self, start: int, stop: int, commit: Commit, columns: Sequence[str] | None = None
    ) -> tuple[int, ...]:
        """Checksums of the rows ``start`` to ``stop``, of all columns unless some are given."""
        columns = self._columns if columns is None else columns
        found = checksums_of_rows(
            columns, self._widths, self._read, start, stop, commit.n_name_bytes
        )
        if None in found:
            raise BankError(
                f"{self._path}: damaged: name_ends of rows {start} to {stop - 1} do not ascend; "
                "restore a copy of the bank, or make it again with `overwrite=True`"
            )
        return tuple(one for one in found if one is not None)

    def _copy_to(self, other: BankFile) -> None:
        n_rows = self.committed.n_rows
        sizes = {name: n_rows * width for name, width in self._widths.items()}
        if self.layout.header.has_names:
            sizes["names"] = self.committed.n_name_bytes
        for name, n_bytes in sizes.items():
            source_at, target_at = self.layout.offsets[name], other.layout.offsets[name]
            _copy(self._file, source_at, other._file, target_at, n_bytes)
        if self.committed.n_deleted:
            other._put_deleted(self.read_deleted(), self.committed.deleted_slot)
        if other._checksums is not None:
            self._copy_checksums_to(other)

    def _copy_checksums_to(self, other: BankFile) -> None:
        """Copy the checksums of the rows, and compute those that this file lacks.

        Stored checksums are not recomputed, so that the copies still reveal damage to the rows.
        """
        n_rows = self.committed.n_rows
        tail: tuple[int, ...] = ()
        for block in range(n_rows // BLOCK_ROWS + 1):
            tail = self._checksums_for(other, block)
            if (block + 1) * BLOCK_ROWS <= n_rows:
                other._put("checksums", block * 4 * len(tail), encode_checksums(tail))
        other._checksums = RowChecksums(other._columns, other._widths, n_rows, tail)

    def _checksums_for(self, other: BankFile, block: int) -> tuple[int, ...]:
        start, stop = block * BLOCK_ROWS, min((block + 1) * BLOCK_ROWS, self.committed.n_rows)
        if self._checksums is None:
            checksums = self._checksums_of(start, stop, self.committed)
        else:
            checksums = self._stored_checksums(block)
        added = [name for name in other._columns if name not in self._columns]
        found = dict(zip(self._columns, checksums, strict=True))
        computed = other._checksums_of(start, stop, self.committed, added)
        found.update(zip(added, computed, strict=True))
        return tuple(found[name] for name in other._columns)

    def _put_deleted(self, bitmap: NDArray[np.uint8], slot: int) -> None:
        size = bitmap_size(self.layout.n_rows)
        self._put("deleted", slot * size, bitmap.tobytes())
        if self.layout.has_checksums:
            check = zlib.crc32(bytes(size - len(bitmap)), zlib.crc32(bitmap.data))
            self._put("deleted_checksums", 4 * slot, encode_checksums([check]))

    def _put(self, dataset: str, first: int, data: bytes) -> None:
        _write_at(self._file, self.layout.offsets[dataset] + first, data)

    def _read(self, dataset: str, first: int, n_bytes: int) -> bytes:
        self._file.seek(self.layout.offsets[dataset] + first)
        pieces, left = [], n_bytes
        while left and (piece := self._file.read(left)):  # one call reads at most 2 GiB
            pieces.append(piece)
            left -= len(piece)
        if left:
            raise OSError(f"expected {n_bytes} bytes of {dataset}, found {n_bytes - left}")
        return b"".join(pieces)


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
