"""``hashkit.sync``: a bank that follows its folder."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hashkit.bank.editor import BankEditor
from hashkit.bank.files import (
    existing_bank,
    locked,
    resolve_link,
    write_errors,
)
from hashkit.bank.reader import Bank
from hashkit.bank_set.editor import open_editor
from hashkit.bank_set.joined import AnyBank, as_one
from hashkit.bank_set.opening import banks_of, open_bank_or_set
from hashkit.bank_set.reader import BankSet
from hashkit.codesets import kept_rows
from hashkit.collection.bank_of_folder import check_follows, end_interrupted, follows
from hashkit.collection.labelling import FolderLabels
from hashkit.collection.listing import Listing, list_folder
from hashkit.collection.plan import Plan, check_removals, known_rows, make_plan, no_rows
from hashkit.collection.rehearsal import Rehearsal
from hashkit.collection.removals import Removals, removed_rows_of
from hashkit.collection.replacing import beside_path, check_readable, replace_bank
from hashkit.collection.sync import SyncJob, apply_plan, folder_source, new_header
from hashkit.collection.todo import Done
from hashkit.errors import BankMismatchError, ConfigError, DatasetError
from hashkit.inputs.arguments import checked_arguments
from hashkit.runs.run import PathText
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import write_faults
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.threads import check_threads
from hashkit.workflow.collection_model import NEEDS_MODEL, CollectionModel
from hashkit.workflow.index_state import report_index
from hashkit.workflow.output_files import check_bank_path
from hashkit.workflow.reporter import LOGGED, LateProgress, Reporter, plural
from hashkit.workflow.sync_report import SyncReport, listed_beside

__all__ = ["FolderSync", "SyncOptions", "bank_of_folder", "sync"]


@dataclasses.dataclass(frozen=True)
class SyncOptions:
    """Settings of `sync`; see there."""

    batch_size: int | None = None
    num_workers: int | None = None
    checksum: bool = False
    dry_run: bool = False
    allow_removals: bool = False
    allow_other_provider: bool = False


@checked_arguments
def sync(
    folder: PathText,
    bank: PathText | None = None,
    model: Encoder | PathText | None = None,
    *,
    device: str = "auto",
    runtime: str = "onnxruntime",
    profile: str = "exact",
    batch_size: int | None = None,
    num_workers: int | None = None,
    checksum: bool = False,
    dry_run: bool = False,
    allow_removals: bool = False,
    allow_other_provider: bool = False,
    reporter: Reporter | None = None,
) -> SyncReport:
    """Update a bank to match its folder, as ``hashkit sync`` does.

    New and changed images are encoded, moved images get rows with their new names, and rows of
    missing images are deleted; all other rows are kept. After an interruption, the same call
    continues. For another model than the bank's, a new bank is made beside the old one and replaces
    it at the end.

    Parameters
    ----------
    folder
        The images, with all subfolders.
    bank
        The bank, which is created if it does not exist, or a bank set, whose last shard gets new
        rows; None for ``<folder>.h5`` beside the folder.
    model
        An ONNX file, the name of a built-in model, or an encoder; None for the model of the bank.
    device, runtime, profile
        See `hashkit.runtimes.settings.RuntimeSettings`; an encoder has its own.
    batch_size
        Images per batch; None to choose by device and input size.
    num_workers
        Threads that read and decode; None for one per core.
    checksum
        Read every file and compare its digest; otherwise a file with the same size and time counts
        as unchanged.
    dry_run
        Only count what a sync would do. New and changed images are read and decoded, to find those
        that cannot be used. Whether model and device match the bank is not checked.
    allow_removals
        Delete rows even if more than half of the images are missing.
    allow_other_provider
        Add rows made with another device, runtime or version of Pillow than the bank's.
    reporter
        Takes notes and progress, and can stop the sync; None to log the notes.

    Returns
    -------
    SyncReport
        The number of images of each kind, and those that cannot be used.

    Raises
    ------
    ConfigError
        If there is no model for images to encode.
    DatasetError
        If the folder does not exist, cannot be read, or has no images for a new bank.
    ModelError, DeviceError
        If the model or the device cannot be used.
    BankLockedError
        If another process is writing the bank.
    BankError
        If more than half of the images are missing, the bank was not made from this folder, or it
        cannot be written.
    """
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=batch_size)
    options = SyncOptions(
        batch_size, num_workers, checksum, dry_run, allow_removals, allow_other_provider
    )
    reporter = reporter or LOGGED
    return FolderSync(folder, bank, model, settings, options, reporter).run()


def bank_of_folder(folder: Path) -> Path:
    """The default bank of a folder: ``photos.h5`` beside ``photos``.

    Raises
    ------
    ConfigError
        If the folder has no name.
    """
    named = folder if folder.name else folder.absolute()
    if named.name in ("", ".."):
        raise ConfigError(f"{folder}: name its bank with `bank=...`")
    return named.with_name(f"{named.name}.h5")


class FolderSync:
    """A folder and its bank, to be synchronised once or repeatedly.

    The parameters are those of `sync`; a loaded model is kept.
    """

    def __init__(
        self,
        folder: PathText,
        bank: PathText | None,
        model: Encoder | PathText | None,
        settings: RuntimeSettings,
        options: SyncOptions,
        reporter: Reporter,
    ) -> None:
        self.folder = Path(folder)
        self.bank = resolve_link(bank_of_folder(self.folder) if bank is None else bank)
        if not self.bank.exists():
            check_bank_path(self.bank)
        self._model = CollectionModel(model, settings, reporter)
        self._options = options
        self._n_workers = check_threads(options.num_workers, "num_workers")
        self._reporter = reporter
        self._said: set[str] = set()

    def run(self) -> SyncReport:
        """Update the bank to match the folder once."""
        started = time.perf_counter()
        is_new = not self.bank.exists()
        if is_new and not (self._model.is_named or self._options.dry_run):
            raise ConfigError(NEEDS_MODEL)  # before a large folder is listed
        listing = list_folder(self.folder)
        for line in listing.left_out:
            if line not in self._said:
                self._said.add(line)
                self._reporter.note(line)
        plan, done = self._begin(listing) if is_new else self._follow(listing)
        if not self._options.dry_run:
            with write_errors(self.bank):
                write_faults(listed_beside(self.bank), done.faults)
        report = SyncReport(
            folder=self.folder,
            bank=self.bank,
            added=done.added,
            changed=done.changed,
            moved=done.moved,
            removed=done.removed,
            unchanged=plan.n_unchanged + done.same,
            left_deleted=len(plan.left_deleted),
            encoded=done.encoded,
            faults=tuple(done.faults),
            seconds=time.perf_counter() - started,
            is_dry_run=self._options.dry_run,
        )
        for line in report.lines():
            self._reporter.note(line)
        return report

    def _begin(self, listing: Listing) -> tuple[Plan, Done]:
        """Make the bank."""
        if not len(listing):
            because = "".join(f"; {line}" for line in listing.left_out)
            raise DatasetError(
                f"{self.folder}: expected images for the new bank {self.bank}, found none{because}"
            )
        if self._options.dry_run:
            if not self._model.is_named:
                self._reporter.note(f"warning: {NEEDS_MODEL}")
            plan = make_plan(listing, no_rows(), checksum=False, n_workers=self._n_workers)
            with self._rehearsal() as rehearsal:
                return plan, rehearsal.follow(plan, None)
        encoder = self._model.load(None)
        self._reporter.note(f"{self.bank}: a new bank of {self.folder}")
        BankEditor.create(self.bank, new_header(encoder, listing.folder)).close()
        return self._follow(listing)

    def _follow(self, listing: Listing) -> tuple[Plan, Done]:
        """Update an existing bank."""
        path = existing_bank(self.bank)
        with open_bank_or_set(path) as opened:
            bank = as_one(opened)
            check_follows(bank)
            why = self._why_to_replace(bank)
            if why and isinstance(opened, BankSet):
                raise BankMismatchError(
                    f"{path}: expected a bank set that can be continued, found one that {why}: "
                    f"encode the folder into a new one, with `hashkit encode {self.folder} "
                    f"--model MODEL --shards {len(opened)} --out SET`"
                )
            if self._options.dry_run:
                return self._rehearse(listing, bank, why)
            if not why and isinstance(opened, Bank):
                end_interrupted(opened)
        return self._replace(listing, path, why) if why else self._update(listing, path)

    def _rehearse(self, listing: Listing, bank: AnyBank, why: str) -> tuple[Plan, Done]:
        plan = self._plan(listing, bank, removed_rows_of(bank))
        with self._rehearsal() as rehearsal:
            if not why:
                return plan, rehearsal.follow(plan, bank)
            known = bank.files is not None
            unknown = "" if known else ", and count as changed even if their codes stay the same"
            self._reporter.note(f"{bank.path} {why}: all images would be encoded again{unknown}")
            check_readable(bank, plan, allow_removals=self._options.allow_removals)
            return plan, rehearsal.replace(plan)

    @contextlib.contextmanager
    def _rehearsal(self) -> Iterator[Rehearsal]:
        with LateProgress(self._reporter, f"reading {self.folder.name}", "images") as bar:
            yield Rehearsal(
                self.bank, self._n_workers, self._options.allow_removals, _shown_on(bar)
            )

    def _why_to_replace(self, bank: AnyBank) -> str:
        """Why the bank has to be made again; empty if it can be kept."""
        if not self._model.made(bank):
            return "was made by another model"
        if not (bank.header.has_files and bank.header.has_names):
            return "has no names, sizes, times and digests of its image files"
        return ""

    def _update(self, listing: Listing, path: Path) -> tuple[Plan, Done]:
        with open_editor(path) as editor, open_bank_or_set(path) as opened:
            bank = as_one(opened)
            removed = removed_rows_of(bank)
            plan = self._plan(listing, bank, removed)
            if not follows(editor.header.source, listing.folder) or len(editor.sources) > 1:
                self._tell_folder(bank, listing)
                editor.set_source(folder_source(listing.folder))
            done = Done(faults=list(plan.faults))
            if not plan.is_nothing:
                with self._job(bank) as job:
                    done = apply_plan(editor, bank, plan, removed, _labels(bank), job)
        for one in banks_of(opened):
            report_index(one.path, self._reporter)
        return plan, done

    def _replace(self, listing: Listing, path: Path, why: str) -> tuple[Plan, Done]:
        with locked(path), Bank.open(path) as bank:
            plan = self._plan(listing, bank, removed_rows_of(bank))
            self._reporter.note(
                f"{path} {why}: encoding {plural(len(listing), 'image')} into "
                f"{beside_path(path).name}, which replaces it at the end"
            )
            with self._job(bank) as job:
                done = replace_bank(bank, plan, _labels(bank), job)
        report_index(path, self._reporter)
        return plan, done

    def _plan(self, listing: Listing, bank: AnyBank, removed: Removals) -> Plan:
        known = known_rows(bank, removed)
        if not self._options.dry_run:
            with write_errors(bank.path):
                removed.tidy(known.is_deleted)
        with LateProgress(self._reporter, f"reading {self.folder.name}", "files") as bar:
            plan = make_plan(
                listing,
                known,
                checksum=self._options.checksum,
                n_workers=self._n_workers,
                progress=bar.update,
            )
        check_removals(plan, str(bank.path), allow_removals=self._options.allow_removals)
        return plan

    @contextlib.contextmanager
    def _job(self, bank: AnyBank) -> Iterator[SyncJob]:
        with LateProgress(self._reporter, f"updating {self.bank.name}", "images") as bar:
            yield SyncJob(
                lambda: self._model.load(bank),
                self._options.batch_size,
                self._n_workers,
                self._options.allow_removals,
                self._options.allow_other_provider,
                _shown_on(bar),
                lambda fault: self._reporter.note(f"warning: {self.bank}: {fault}"),
            )

    def _tell_folder(self, bank: AnyBank, listing: Listing) -> None:
        before = bank.header.source
        if before is not None and before.root not in (None, str(listing.folder)):
            self._reporter.note(
                f"{bank.path} was made from {before.root}, and follows {listing.folder} from now on"
            )


def _shown_on(bar: LateProgress) -> Callable[[int, int, int], None]:
    """Shows images that are done, of all, and faults."""

    def show(n_done: int, n_images: int, n_faults: int) -> None:
        bar.update(n_done, n_images, f"{n_faults:,} skipped" if n_faults else "")

    return show


def _labels(bank: AnyBank) -> FolderLabels:
    """The rule by which a bank labels images."""
    if bank.labels is None:
        return FolderLabels(bank.header, {})
    rows, names = kept_rows(bank), list(bank.names)
    return FolderLabels.of_rows(
        bank.header, [names[row] for row in rows.tolist()], bank.labels[rows]
    )
