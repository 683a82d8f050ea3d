"""Updates a bank to match its folder: new images are encoded, rows of missing ones are deleted."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.editor import BankEditor
from hashkit.bank.files import write_errors
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.image_files import ImageFiles
from hashkit.bank_set.editor import SetEditor
from hashkit.bank_set.joined import AnyBank, codes_of
from hashkit.collection.contents import as_files
from hashkit.collection.encoding import encode_images
from hashkit.collection.labelling import FolderLabels
from hashkit.collection.plan import Plan
from hashkit.collection.removals import Removals
from hashkit.collection.todo import Done, Todo
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import HashkitError
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.pipeline import bank_header, header_of_codes

__all__ = ["SyncJob", "apply_plan", "folder_source", "new_header"]

_COMMIT_SECONDS: Final = 1.0
_COMMIT_ROWS: Final = 10_000


@dataclasses.dataclass(frozen=True)
class SyncJob:
    """How a sync encodes.

    Attributes
    ----------
    load_encoder
        Loads the model; called only if an image has to be encoded.
    batch_size
        Images per batch; None to choose by provider and input size.
    n_workers
        Threads that read and decode.
    allow_removals, allow_other_provider
        Whether more than half of the rows may be deleted, and whether another runtime or provider
        may add rows.
    progress
        Called with the number of images done, of all images to encode, and of faults.
    warn
        Called with a sentence if the codes do not tell images apart.
    """

    load_encoder: Callable[[], Encoder]
    batch_size: int | None
    n_workers: int
    allow_removals: bool
    allow_other_provider: bool
    progress: Callable[[int, int, int], None]
    warn: Callable[[str], None]


def folder_source(folder: Path) -> BankSource:
    """The image list of a bank that follows a folder, which is a real path."""
    return BankSource(str(folder), str(folder), "", "all", None, None, "")


def new_header(encoder: Encoder, folder: Path) -> BankHeader:
    """Header of a new bank of a folder."""
    images = ImageSet(name=folder.name or str(folder), names=[], root=folder)
    return bank_header(encoder, images, folder_source(folder))


def apply_plan(
    editor: BankEditor | SetEditor,
    bank: AnyBank,
    plan: Plan,
    removed: Removals,
    labels: FolderLabels,
    job: SyncJob,
) -> Done:
    """Do what a plan says, in commits about every second, so that a kill loses no more.

    On Ctrl-C, or an exception from ``job.progress``, the images encoded so far are committed.

    Parameters
    ----------
    bank
        The bank of the editor, as it was when the plan was made.
    removed
        The list of the bank's removed rows.
    labels
        How new rows are labelled.

    Raises
    ------
    BankMismatchError
        If an image has to be encoded with another runtime or provider than the bank names.
    BankError
        If the bank cannot be written, or, without ``job.allow_removals``, more than half of its
        images can no longer be used.
    """
    done = Done(faults=list(plan.faults))
    encoder = job.load_encoder() if plan.n_to_encode else None
    if encoder is not None:
        expected = header_of_codes(encoder, editor.header)
        editor.admit(expected, allow_other_provider=job.allow_other_provider)
    with _Commits(editor, bank, labels, removed) as commits:
        _write_known(commits, bank, plan)
        done.moved, done.removed = len(plan.moved), len(plan.vanished)
        if encoder is not None:
            _encode(commits, bank, plan, encoder, job, done)
    return done


def _write_known(commits: _Commits, bank: AnyBank, plan: Plan) -> None:
    """Write the rows whose codes are known, and delete those whose files are gone."""
    known = (*plan.moved, *plan.refreshed)
    for start in range(0, len(known), _COMMIT_ROWS):
        images = known[start : start + _COMMIT_ROWS]
        rows = [image.row for image in images]
        names = [plan.listing.names[image.at] for image in images]
        files = as_files([image.facts for image in images])
        commits.add(names, codes_of(bank, np.array(rows, np.int64)), files, rows)
    commits.delete([*plan.vanished.tolist(), *plan.repeated.tolist()])
    commits.flush()


def _encode(
    commits: _Commits, bank: AnyBank, plan: Plan, encoder: Encoder, job: SyncJob, done: Done
) -> None:
    todo = Todo(plan, done)
    batches = encode_images(
        encoder,
        plan.listing.folder,
        todo.names,
        todo.known_codes(bank),
        batch_size=job.batch_size or default_batch_size(encoder),
        n_workers=job.n_workers,
        warn=job.warn,
    )
    with contextlib.closing(batches):
        job.progress(0, len(todo.names), 0)
        for batch in batches:
            positions = batch.positions.tolist()
            names = [todo.names[position] for position in positions]
            rows = [todo.rows[position] for position in positions]
            commits.add(names, batch.codes, batch.files, rows)
            todo.count(rows, batch.n_encoded, batch.faults)
            job.progress(batch.n_done, len(todo.names), todo.n_faults)
    commits.flush()
    commits.delete(todo.broken_rows(bank.path, allow_removals=job.allow_removals))


class _Commits:
    """Collects rows, and commits them when a second has passed and at the end.

    A row that replaces another one is in the commit that deletes the other one.
    """

    def __init__(
        self,
        editor: BankEditor | SetEditor,
        bank: AnyBank,
        labels: FolderLabels,
        removed: Removals,
    ) -> None:
        self._editor = editor
        self._names_before = bank.names
        self._labels = labels
        self._removed = removed
        self._names: list[str] = []
        self._codes: list[NDArray[np.uint8]] = []
        self._files: list[ImageFiles] = []
        self._rows: list[int] = []
        self._deleted: list[int] = []
        self._committed_at = time.monotonic()

    def add(
        self,
        names: Sequence[str],
        codes: NDArray[np.uint8],
        files: ImageFiles,
        rows: Sequence[int],
    ) -> None:
        """Add rows, each in place of one of ``rows``; -1 for none."""
        self._names += names
        self._codes.append(codes)
        self._files.append(files)
        self._rows += rows
        is_late = time.monotonic() - self._committed_at >= _COMMIT_SECONDS
        if is_late or len(self._names) >= _COMMIT_ROWS:
            self.flush()

    def delete(self, rows: Sequence[int]) -> None:
        """Delete rows in the next commit."""
        self._deleted += rows

    def flush(self) -> None:
        """Commit what was added."""
        names, codes, files, rows = self._names, self._codes, self._files, self._rows
        deleted = [*self._deleted, *(row for row in rows if row >= 0)]
        # Emptied first, so that rows are not committed twice if Ctrl-C ends this.
        self._names, self._codes, self._files, self._rows, self._deleted = [], [], [], [], []
        with write_errors(self._editor.path):
            self._removed.add(deleted)
        if names:
            earlier = [self._names_before[row] if row >= 0 else None for row in rows]
            self._editor.apply(
                np.concatenate(codes),
                names,
                self._labels.labels_of(names, earlier),
                files=_joined(files),
                deleted=deleted,
            )
        elif deleted:
            self._editor.apply(deleted=deleted)
        self._committed_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # On Ctrl-C or an exception from the progress function, what is encoded is kept. After an
        # error of the bank itself, nothing more is written.
        if not isinstance(error, HashkitError):
            self.flush()


def _joined(files: Sequence[ImageFiles]) -> ImageFiles:
    return ImageFiles(
        np.concatenate([one.sizes for one in files]),
        np.concatenate([one.mtimes_ns for one in files]),
        np.concatenate([one.digests for one in files]),
    )
