"""The encoding of one shard, which any number of processes may begin at any time.

A shard is written in the folder ``unfinished/`` of its set, and linked to its own name when it is
complete, with the list of its skipped images. So a shard under its name is whole, and the first one
that is complete stays.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hashkit.bank.reader import Bank
from hashkit.bank_set.finishing import shard_name
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.slices.opening import open_slice
from hashkit.datasets.slices.plan import Plan
from hashkit.errors import BankError, BankLockedError, BankMismatchError
from hashkit.files.moving import move_file
from hashkit.messages.os_errors import cannot_write
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import faults_path, read_faults
from hashkit.runtimes.pipeline import EncodeProgress, EncodeReport, encode_to_bank
from hashkit.workflow.encoding import EncodeOptions, complete_report, source_of
from hashkit.workflow.reporter import Reporter

__all__ = ["UNFINISHED_FOLDER", "ShardJob", "is_finished"]

UNFINISHED_FOLDER: Final = "unfinished"

_LOOK_SECONDS: Final = 0.5
_PATIENCE_SECONDS: Final = 60.0
"""A writer that has committed nothing for this long counts as hung, and another one begins."""


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """The encoding of one shard; see `hashkit.workflow.shards.encode_shard`."""

    folder: Path
    plan: Plan
    number: int
    encoder: Encoder
    options: EncodeOptions
    reporter: Reporter
    progress: Callable[[EncodeProgress], None] | None

    @property
    def path(self) -> Path:
        """The finished shard."""
        return self.folder / shard_name(self.number)

    def run(self) -> EncodeReport:
        """Encode the shard, unless it is finished."""
        if self._is_finished():
            return self._report_of_finished()
        images = open_slice(self.folder, self.plan, self.number)
        work = self.folder / UNFINISHED_FOLDER / self.path.name
        wait = _Patience(work)
        while not self._is_finished():
            try:
                return self._published(work, self._encode(images, work))
            except BankLockedError:
                if wait.is_new:
                    self._note("another process encodes this shard; waiting for it")
                if wait.is_over():
                    self._note("the other process makes no progress; encoding the shard here")
                    work = work.with_name(f"{self.path.stem}.{secrets.token_hex(4)}.h5")
            except BankError:
                # The process that finished the shard may have removed this process's file.
                if not self._is_finished():
                    raise
        return self._report_of_finished()

    def _is_finished(self) -> bool:
        return is_finished(self.path, self.plan, self.number)

    def _note(self, text: str) -> None:
        self.reporter.note(f"{self.path}: {text}")

    def _encode(self, images: ImageSet, work: Path) -> EncodeReport:
        return encode_to_bank(
            self.encoder,
            images,
            work,
            source=source_of(images, self.plan.images),
            batch_size=self.options.batch_size,
            n_workers=self.options.n_workers,
            strict=self.options.strict,
            allow_other_provider=self.options.allow_other_provider,
            may_be_empty=True,
            progress=self.progress,
            warn=lambda fault: self.reporter.note(f"warning: {self.path}: {fault}"),
        )

    def _published(self, work: Path, report: EncodeReport) -> EncodeReport:
        """Give a complete shard its name, unless another process did; returns its report."""
        final = self.path
        try:
            with contextlib.suppress(FileNotFoundError):
                faults_path(work).replace(faults_path(final))
            if final.is_file() and not final.stat().st_size:
                final.unlink()  # a killed process had reserved the name
            move_file(work, final, b"")
        except (FileExistsError, FileNotFoundError):
            if not self._is_finished():
                raise
            work.unlink(missing_ok=True)
            return self._report_of_finished()
        except OSError as error:
            raise BankError(cannot_write(error, final)) from error
        faults = faults_path(final)
        return dataclasses.replace(
            report,
            path=final,
            n_skipped=report.n_images - report.n_rows,
            faults_path=faults if faults.exists() else None,
        )

    def _report_of_finished(self) -> EncodeReport:
        with Bank.open(self.path) as bank:
            n_rows = len(bank)
        n_images, n_skipped = len(self.plan.slices[self.number]), len(read_faults(self.path))
        return complete_report(self.encoder, self.path, n_images, n_rows, n_skipped, self.options)


def is_finished(path: Path, plan: Plan, number: int) -> bool:
    """Whether a shard is there, complete.

    Raises
    ------
    BankMismatchError
        If the file is another bank.
    BankError
        If it is damaged.
    """
    try:
        if not path.stat().st_size:
            return False
    except FileNotFoundError:
        return False
    with Bank.open(path) as bank:
        n_images = len(plan.slices[number])
        is_ours = any(
            (source.dataset, source.n_images) == (plan.images, n_images) for source in bank.sources
        )
        if not is_ours or bank.header.model_sha256 != plan.model_sha256:
            raise BankMismatchError(
                f"{path}: expected the shard of images {plan.slices[number].start} to "
                f"{plan.slices[number].stop} of {plan.images} by the model of the plan, found "
                "another bank: move it elsewhere, or replace the set with `overwrite=True`"
            )
        return bank.is_complete


class _Patience:
    """Waits for the writer of a bank as long as it makes progress."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, float] | None = None

    @property
    def is_new(self) -> bool:
        """Whether it has not waited yet."""
        return self._seen is None

    def is_over(self) -> bool:
        """Wait a moment; True if the file has not changed for too long."""
        time.sleep(_LOOK_SECONDS)
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        now = time.monotonic()
        if self._seen is None or self._seen[0] != changed:
            self._seen = changed, now
        return now - self._seen[1] >= _PATIENCE_SECONDS
