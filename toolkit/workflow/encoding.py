"""Encoding with progress, shared by `encode` and by the commands that need a run's banks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from hashkit.bank.compatibility import check_model, join_providers
from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.collection.bank_of_folder import followed_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import BankError
from hashkit.runtimes.builtin import shown_model
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.faults import faults_path
from hashkit.runtimes.pipeline import (
    EncodeMode,
    EncodeProgress,
    EncodeReport,
    bank_header,
    encode_to_bank,
)
from hashkit.runtimes.protocol import RUNTIMES
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.grown_sources import rows_to_encode
from hashkit.workflow.index_state import report_index
from hashkit.workflow.reporter import SILENT, LateProgress, Reporter, plural

__all__ = [
    "DEFAULT_OPTIONS",
    "EncodeOptions",
    "complete_report",
    "encode_set",
    "load_encoder",
    "source_of",
]


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """Settings of `encode_to_bank`; see there."""

    batch_size: int | None = None
    n_workers: int | None = None
    strict: bool = False
    mode: EncodeMode = "resume"
    allow_other_provider: bool = False


DEFAULT_OPTIONS: Final = EncodeOptions()


def load_encoder(model: Path, settings: RuntimeSettings, reporter: Reporter = SILENT) -> Encoder:
    """Load a model, and report what it runs on."""
    encoder = Encoder.open(model, settings)
    bits = plural(encoder.n_bits, "bit")
    reporter.note(f"{shown_model(model)}: {bits}, {encoder.runtime} on {encoder.provider}")
    if RUNTIMES[settings.runtime].is_slow:
        reporter.note(f"the runtime {settings.runtime} is slow, and meant for a few images")
    return encoder


def encode_set(
    encoder: Encoder,
    images: ImageSet,
    out: Path,
    *,
    dataset: str,
    options: EncodeOptions,
    protocol: str = "",
    part: str = "all",
    seed: int | None = None,
    reporter: Reporter = SILENT,
) -> EncodeReport:
    """Encode images into a bank, with progress.

    If a folder has grown since the bank was made from it, ``append`` encodes the new images.

    Parameters
    ----------
    dataset, protocol, part, seed
        See `hashkit.bank.header.BankSource`.
    """
    source = source_of(images, dataset, protocol, part, seed)
    header = bank_header(encoder, images, source)
    if options.mode == "overwrite":
        _tell_of_followed(out, reporter)
    todo = rows_to_encode(images, header, out, options.mode, reporter)
    if todo.rows is not None:
        if not len(todo.rows):
            return _nothing_to_do(encoder, header, len(images), out, options)
        images = images.subset(todo.rows)
        options = dataclasses.replace(options, mode=todo.mode)
        source = dataclasses.replace(
            source,
            n_images=len(images),
            names_sha256=hash_names(images.names, images.labels),
        )
    with LateProgress(reporter, f"encoding {out.name}", "images") as bar:

        def show(progress: EncodeProgress) -> None:
            skipped = f"{progress.n_skipped:,} skipped" if progress.n_skipped else ""
            # The first report gives the rows of an earlier run.
            bar.update(progress.n_done, progress.n_total, skipped, start=progress.n_done)

        report = encode_to_bank(
            encoder,
            images,
            out,
            source=source,
            progress=show,
            warn=lambda fault: reporter.note(f"warning: {out}: {fault}"),
            **vars(options),
        )
    _note_report(report, reporter)
    report_index(out, reporter)
    return report


def _tell_of_followed(path: Path, reporter: Reporter) -> None:
    """Warn if a bank that is to be replaced follows a folder."""
    if not path.is_file():
        return
    try:
        with Bank.open(path) as bank:
            folder = followed_folder(bank)
    except BankError:  # a damaged bank may be replaced
        return
    if folder is not None:
        reporter.note(
            f"warning: hashkit sync kept {path} up to date with {folder}; a bank of a fixed list "
            "of images replaces it, and rows deleted by hand come back"
        )


def source_of(
    images: ImageSet, dataset: str, protocol: str = "", part: str = "all", seed: int | None = None
) -> BankSource:
    """Where images came from, for the bank that is made from them; see `BankSource`."""
    return BankSource(
        dataset=dataset,
        root=None if images.root is None else str(images.root.resolve()),
        protocol=protocol,
        part=part,
        seed=seed,
        n_images=len(images),
        names_sha256=hash_names(images.names, images.labels),
    )


def _nothing_to_do(
    encoder: Encoder, header: BankHeader, n_images: int, path: Path, options: EncodeOptions
) -> EncodeReport:
    """The report on a bank that has all ``n_images`` images already.

    Raises
    ------
    BankMismatchError
        If the bank was made by another model.
    """
    with Bank.open(path) as bank:
        check_model(path, header, bank.header)
        join_providers(path, header, bank.header, options.allow_other_provider)
        n_rows = len(bank)
    return complete_report(encoder, path, n_images, n_rows, 0, options)


def complete_report(
    encoder: Encoder,
    path: Path,
    n_images: int,
    n_rows: int,
    n_skipped: int,
    options: EncodeOptions,
) -> EncodeReport:
    """The report on a bank for which there was nothing to do."""
    faults = faults_path(path)
    return EncodeReport(
        path=path,
        n_images=n_images,
        n_rows=n_rows,
        n_encoded=0,
        n_resumed=n_images,
        n_skipped=n_skipped,
        faults_path=faults if faults.exists() else None,
        was_complete=True,
        seconds=0.0,
        batch_size=options.batch_size or default_batch_size(encoder),
        runtime=encoder.runtime,
        provider=encoder.provider,
        precision=encoder.precision,
    )


def _note_report(report: EncodeReport, reporter: Reporter) -> None:
    if report.was_complete:
        reporter.note(f"{report.path} is already complete: {plural(report.n_rows, 'row')}")
        return
    resumed = f", {report.n_resumed:,} of them by an earlier run" if report.n_resumed else ""
    reporter.note(
        f"{report.path}: {plural(report.n_rows, 'row')} from {plural(report.n_images, 'image')}"
        f"{resumed}, {report.images_per_second:,.0f} images/s in batches of {report.batch_size}"
    )
    if report.n_skipped:
        reporter.note(
            f"{plural(report.n_skipped, 'image')} could not be used, see {report.faults_path}"
        )
