"""Changes a bank set that is in use: new rows go to its last shard, deletions to their own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashkit.bank.deletion import row_numbers
from hashkit.bank.editor import BankEditor
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank_set.entries import updated_manifest
from hashkit.bank_set.finishing import locked_set
from hashkit.bank_set.joined import rows_by_bank
from hashkit.bank_set.manifest import SetManifest, read_manifest, write_manifest
from hashkit.bank_set.plan_files import remove_plan
from hashkit.bank_set.reader import BankSet
from hashkit.files.addresses import check_local

__all__ = ["SetEditor", "open_editor"]


def open_editor(path: str | os.PathLike[str], *, lock_seconds: float = 0) -> BankEditor | SetEditor:
    """Open a complete bank, or the bank set of a folder, to change it.

    Raises
    ------
    BankLockedError, BankError, BankMismatchError
        See `BankEditor.open` and `SetEditor.open`.
    """
    kind = SetEditor if Path(path).is_dir() else BankEditor
    return kind.open(path, lock_seconds=lock_seconds)


class SetEditor:
    """Adds rows to a bank set and deletes others, while it is searched; made by `open`.

    Rows have their numbers in the set. New ones get the highest, so they go to the last shard: all
    other rows keep theirs. The manifest says that the last shard grows before the first row is
    added, and lists the shards as they are when the editor is closed; a process that is killed
    leaves a set that opens with all its committed rows.

    An `apply` is one commit per shard: first new rows, and then what is deleted in other shards.
    """

    def __init__(self, folder: Path, banks: BankSet, keep: contextlib.ExitStack) -> None:
        self.path = folder
        self._manifest: SetManifest = banks.manifest
        self._files = [bank.path for bank in banks]
        self._starts: list[int] = banks.offsets.tolist()[:-1]
        self._editors: dict[int, BankEditor] = {}
        self._keep = keep
        # A process that was killed may have left a manifest from before its changes.
        now = updated_manifest(self._manifest, banks)
        now = dataclasses.replace(now, created_by=self._manifest.created_by)
        self._is_changed = now != self._manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, lock_seconds: float = 0) -> SetEditor:
        """Open a bank set to change it.

        Parameters
        ----------
        lock_seconds
            How long to wait for another process that is changing the set, seconds.

        Raises
        ------
        BankLockedError
            If another process is changing the set or its last shard.
        BankError
            If there is no such set, or it cannot be read or written.
        """
        check_local(path)
        folder = Path(path)
        read_manifest(folder)  # before a lock is left in some other folder
        with contextlib.ExitStack() as keep:
            keep.enter_context(locked_set(folder, lock_seconds))
            with BankSet.open(folder) as banks:
                editor = cls(folder, banks, keep)
            editor._editor(editor._n_shards - 1)
            editor._keep = keep.pop_all()
        return editor

    @property
    def header(self) -> BankHeader:
        """Metadata of the last shard, to which rows are added."""
        return self._last.header

    @property
    def sources(self) -> tuple[BankSource, ...]:
        """Image lists of the last shard, in the order in which they were added."""
        return self._last.sources

    @property
    def n_rows(self) -> int:
        """Number of rows of the set, including deleted ones."""
        return self._starts[-1] + self._last.n_rows

    def admit(self, header: BankHeader, *, allow_other_provider: bool = False) -> None:
        """Check that codes of the model in ``header`` fit the set; see `BankEditor.admit`."""
        self._last.admit(header, allow_other_provider=allow_other_provider)
        self._is_changed = True

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
        """Add rows and mark others as deleted; returns the numbers of the new rows.

        See `BankEditor.apply`; ``deleted`` are rows of the set.
        """
        rows = row_numbers(deleted, self.n_rows, str(self.path))
        if codes is not None:
            self._begin_to_grow()
        self._is_changed = True
        last = self._n_shards - 1
        is_last = rows >= self._starts[last]
        last_rows, earlier_rows = rows[is_last] - self._starts[last], rows[~is_last]
        added = self._last.apply(
            codes, names, labels, files=files, deleted=last_rows, source=source
        )
        for shard, is_own in rows_by_bank(earlier_rows, self._starts):
            self._editor(shard).apply(deleted=earlier_rows[is_own] - self._starts[shard])
        return range(self._starts[last] + added.start, self._starts[last] + added.stop)

    def set_source(self, source: BankSource) -> None:
        """Let the last shard follow a folder, and every other shard that names another folder.

        This copies these shards, unless the list is already their only one.
        """
        self._is_changed = True
        self._set_last(slice=None)
        for shard in range(self._n_shards):
            editor = self._editor(shard)
            is_other = any(one.root not in (None, source.root) for one in editor.sources)
            if is_other or shard == self._n_shards - 1:
                editor.set_source(source)

    def close(self) -> None:
        """Write the manifest and release the locks; a second call does nothing."""
        keep, self._keep = self._keep, contextlib.ExitStack()
        with keep:
            if self._is_changed:
                self._is_changed = False
                with BankSet.open(self.path) as banks:
                    write_manifest(self.path, updated_manifest(self._manifest, banks))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def _n_shards(self) -> int:
        return len(self._files)

    @property
    def _last(self) -> BankEditor:
        return self._editors[self._n_shards - 1]

    def _editor(self, shard: int) -> BankEditor:
        if shard not in self._editors:
            self._editors[shard] = self._keep.enter_context(BankEditor.open(self._files[shard]))
        return self._editors[shard]

    def _begin_to_grow(self) -> None:
        if not self._manifest.shards[-1].is_growing:
            self._set_last(slice=None, is_growing=True)

    def _set_last(self, **changes: Any) -> None:
        """Change the last shard's entry in the manifest: it no longer belongs to a fixed list."""
        *others, last = self._manifest.shards
        changed = dataclasses.replace(last, **changes)
        self._manifest = dataclasses.replace(self._manifest, shards=(*others, changed))
        remove_plan(self.path)  # first: a grown shard would not match it
        write_manifest(self.path, self._manifest)
