"""Reads a bank set: its shards as a sequence of banks."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.compatibility import check_model
from hashkit.bank.reader import Bank
from hashkit.bank_set.joined import JoinedBanks
from hashkit.bank_set.manifest import (
    MANIFEST_NAME,
    SetManifest,
    ShardEntry,
    finish_command,
    read_manifest,
)
from hashkit.bank_set.places import on_this_machine
from hashkit.errors import BankError, BankMismatchError
from hashkit.inputs.arguments import checked_arguments

__all__ = ["BankSet", "open_shard"]

_OPEN_TRIES = 10


class BankSet(Sequence[Bank]):
    """A bank set opened for reading with `BankSet.open`: the sequence of its shards.

    `hashkit.search`, `hashkit.evaluate` and `hashkit.pairs` take it as a database. Rows are
    numbered over all shards, in their order, so results are those of one bank of the same rows.
    Like a `Bank` it holds the rows that existed when it was opened, and never changes; `reload`
    returns the newest state.

    Attributes
    ----------
    path
        The folder.
    manifest
        Content of ``bankset.json``.
    offsets
        int64 [n_shards + 1]: rows ``offsets[i]`` to the one before ``offsets[i + 1]`` are those of
        shard i.
    derived
        Cached results computed from the rows, by name; emptied by `close`.
    """

    def __init__(
        self, path: Path, manifest: SetManifest, banks: Sequence[Bank], seen: tuple[int, ...]
    ) -> None:
        self.path = path
        self.manifest = manifest
        self._banks = tuple(banks)
        self._seen = seen
        self.derived: dict[str, Any] = {}
        self.offsets: NDArray[np.int64] = np.cumsum([0, *map(len, banks)], dtype=np.int64)

    @classmethod
    @checked_arguments
    def open(cls, path: str | os.PathLike[str]) -> BankSet:
        """Open a bank set, in time that depends on the number of shards, not of rows.

        Parameters
        ----------
        path
            The folder, or the address of one in an object store, such as ``s3://bucket/photos``:
            its shards are then copied to this machine's cache first, unless they are there.

        Raises
        ------
        BankError
            If there is no such set, or a shard is missing or is not the one of the manifest.
        BankMismatchError
            If the manifest or a shard has a later format version, or a shard another model.
        MissingExtraError
            If the package that reads such addresses is not installed.
        """
        path = on_this_machine(path)
        for attempt in range(_OPEN_TRIES):
            seen = _fingerprint(path)
            manifest = read_manifest(path)
            try:
                banks = [open_shard(path, manifest, entry) for entry in manifest.shards]
            except BankError:
                # Its writer may have replaced shards after the manifest was read.
                if attempt < _OPEN_TRIES - 1 and _fingerprint(path) != seen:
                    continue
                raise
            return cls(path, manifest, banks, seen)
        raise AssertionError("the last attempt returns or raises")

    def reload(self) -> BankSet:
        """The current state of the set: this object if nothing has changed, otherwise a new one.

        Raises
        ------
        BankError, BankMismatchError
            As `open` does.
        """
        if _fingerprint(self.path) == self._seen and all(one.reload() is one for one in self):
            return self
        return BankSet.open(self.path)

    def joined(self) -> JoinedBanks:
        """All rows as one database in memory, for code that takes a single one."""
        last = self._banks[-1].header
        header = dataclasses.replace(
            last,
            runtime=self.manifest.runtime,
            provider=self.manifest.provider,
            resampler=self.manifest.resampler,
            has_names=any(bank.header.has_names for bank in self._banks),
            has_files=all(bank.header.has_files for bank in self._banks),
        )
        return JoinedBanks(self.path, self._banks, header, self.identity)

    def close(self) -> None:
        """Close all shards; reading from them is an error afterwards."""
        self.derived.clear()
        for bank in self._banks:
            bank.close()

    def check(self) -> None:
        """Raise `BankError` if a shard is closed, or its file was cut off or overwritten."""
        for bank in self._banks:
            bank.check()

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
        """Number of shards."""
        return len(self._banks)

    @overload
    def __getitem__(self, index: int) -> Bank: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Bank]: ...
    def __getitem__(self, index: int | slice) -> Bank | Sequence[Bank]:
        return self._banks[index]

    def __repr__(self) -> str:
        return (
            f"<BankSet {self.path}: {self.n_rows} codes of {self.n_bits} bits in "
            f"{len(self)} shards>"
        )

    @property
    def identity(self) -> str:
        """32 hexadecimal digits, drawn when the set was created."""
        return self.manifest.identity

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""
        return self.manifest.n_bits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the images' classes, by label; empty if unknown."""
        return self.manifest.class_names

    @property
    def names(self) -> Sequence[str]:
        """One name per row of the set, decoded on access."""
        return self.joined().names

    @property
    def n_rows(self) -> int:
        """Rows of all shards, including deleted ones."""
        return int(self.offsets[-1])

    @property
    def n_deleted(self) -> int:
        """Deleted rows of all shards."""
        return sum(bank.n_deleted for bank in self._banks)


def _fingerprint(folder: Path) -> tuple[int, ...]:
    """What changes when the manifest is replaced; empty if there is none."""
    try:
        status = (folder / MANIFEST_NAME).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def open_shard(folder: Path, manifest: SetManifest, entry: ShardEntry) -> Bank:
    """Open a shard, and check that it is the one that the manifest lists.

    Raises
    ------
    BankError
        If it is missing, or another one.
    """
    path = folder / entry.file
    if not path.exists():
        raise BankError(
            f"{path}: expected a shard of {entry.n_rows} rows, found no such file: put it back, or "
            f"encode it again and run {finish_command(folder)}"
        )
    bank = Bank.open(path)
    _check(folder, entry, bank)
    check_model(
        path, manifest, bank.header, f"put the shard of the set back ({finish_command(folder)})"
    )
    return bank


def _check(folder: Path, entry: ShardEntry, bank: Bank) -> None:
    """Check that a shard is the one that the manifest lists."""
    fix = f"put that shard back, or accept this one with {finish_command(folder)}"
    if bank.identity != entry.identity:
        found = bank.identity[:12] or f"a bank of format version {bank.format_version}"
        raise BankMismatchError(
            f"{bank.path}: expected the shard of identity {entry.identity[:12]}, found {found}: "
            f"the shard was made again or replaced; {fix}"
        )
    if len(bank) < entry.n_rows or (len(bank) > entry.n_rows and not entry.is_growing):
        raise BankMismatchError(
            f"{bank.path}: expected a shard of {entry.n_rows} rows, found {len(bank)}: it was "
            f"changed outside the set; {fix}"
        )
    # Computed from stored checksums and at most one block of codes.
    if bank.rows_digest(entry.n_rows) != entry.digest:
        raise BankMismatchError(
            f"{bank.path}: expected rows of the digest {entry.digest[:12]}, found "
            f"{bank.rows_digest(entry.n_rows)[:12]}: the shard was changed; {fix}"
        )
