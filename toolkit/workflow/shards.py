"""Encodes the shards of a bank set, each by itself, on one machine or on many."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from hashkit.bank_set.finishing import finish, shard_name
from hashkit.bank_set.manifest import MANIFEST_NAME, SetManifest, Slice
from hashkit.bank_set.plan_files import PLAN_NAME, SLICES_FOLDER
from hashkit.datasets.slices.plan import Plan
from hashkit.errors import BankError
from hashkit.inputs.arguments import whole_number
from hashkit.messages.os_errors import cannot_write
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import read_faults
from hashkit.runtimes.pipeline import EncodeProgress, EncodeReport
from hashkit.workflow.encoding import DEFAULT_OPTIONS, EncodeOptions
from hashkit.workflow.reporter import SILENT, LateProgress, Reporter, plural
from hashkit.workflow.shard_job import UNFINISHED_FOLDER, ShardJob, is_finished
from hashkit.workflow.shard_plans import ImagesToShard, check_encoder, plan_shards, planned

__all__ = [
    "encode_all_shards",
    "encode_shard",
    "finish_shards",
    "new_or_continued",
    "shards_before",
]


def encode_shard(
    folder: Path,
    shard: int,
    encoder: Encoder,
    options: EncodeOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
    *,
    progress: Callable[[EncodeProgress], None] | None = None,
) -> EncodeReport:
    """Encode one shard of a planned bank set; a finished one is left as it is.

    If it is interrupted, the same call continues it. If another process encodes the same shard,
    this one waits for it, and encodes the shard itself if the other ends or makes no progress for a
    minute. Whatever happens, the shard is whole, and is published once.

    Parameters
    ----------
    folder
        The folder of the set, with its plan.
    shard
        Number of the shard, from 0.
    reporter
        Takes notes and progress.
    progress
        Called after every batch too.

    Returns
    -------
    EncodeReport
        The report on the shard; ``was_complete`` if it was finished already.

    Raises
    ------
    ConfigError
        If there is no such shard.
    BankMismatchError
        If the model is not the plan's, or the shard's file belongs to another list or model.
    DatasetError
        If the plan or the slice is damaged.
    ImageError
        If ``strict`` is set in the options and an image cannot be used.
    BankError
        If the folder has no plan, or the shard cannot be written.
    """
    plan = planned(folder)
    shard = whole_number(shard, "shard", 0, len(plan.slices) - 1)
    check_encoder(folder, plan, encoder, options)
    title = f"encoding shard {shard + 1} of {len(plan.slices)}"
    with LateProgress(reporter, title, "images") as bar:

        def show(done: EncodeProgress) -> None:
            skipped = f"{done.n_skipped:,} skipped" if done.n_skipped else ""
            bar.update(done.n_done, done.n_total, skipped, start=done.n_done)
            if progress is not None:
                progress(done)

        return ShardJob(folder, plan, shard, encoder, options, reporter, show).run()


def encode_all_shards(
    wanted: ImagesToShard,
    n_shards: int,
    folder: Path,
    encoder: Encoder,
    options: EncodeOptions = DEFAULT_OPTIONS,
    reporter: Reporter = SILENT,
) -> list[EncodeReport]:
    """Plan a bank set, encode all its shards on this machine, and write the manifest.

    The same call continues what was interrupted.

    Returns
    -------
    list
        A report for each shard.

    Raises
    ------
    HashkitError
        See `plan_shards`, `encode_shard` and `finish_shards`.
    """
    options = new_or_continued(folder, options)
    plan = plan_shards(wanted, n_shards, folder, encoder, options, reporter)
    done_before = shards_before(folder, plan)
    n_before = sum(len(plan.slices[number]) for number in done_before)
    reports: list[EncodeReport] = []
    with LateProgress(reporter, f"encoding {folder.name}", "images") as bar:
        n_done = n_skipped = 0

        def show(progress: EncodeProgress) -> None:
            skipped = n_skipped + progress.n_skipped
            text = f"shard {len(reports) + 1} of {n_shards}"
            text += f", {skipped:,} skipped" if skipped else ""
            done = n_before + n_done + progress.n_done
            bar.update(done, plan.n_images, text, start=done)

        for number in range(n_shards):
            report = ShardJob(folder, plan, number, encoder, options, reporter, show).run()
            n_skipped += report.n_skipped
            n_done += 0 if number in done_before else report.n_images
            reports.append(report)
    finish_shards(folder, allow_other_provider=options.allow_other_provider, reporter=reporter)
    return reports


def finish_shards(
    folder: Path, *, allow_other_provider: bool = False, reporter: Reporter = SILENT
) -> SetManifest:
    """Check that all shards of a plan are complete, and write the manifest of the set.

    Without a plan, all shards in the folder make the set.

    Raises
    ------
    BankError
        If a shard is missing or not complete, or the manifest cannot be written.
    BankMismatchError
        If shards were made by different models or, unless allowed, providers.
    DatasetError
        If the plan is damaged.
    """
    slices = None
    if (folder / PLAN_NAME).is_file():
        plan = planned(folder)
        slices = {
            shard_name(number): Slice(plan.list, one.start, one.stop)
            for number, one in enumerate(plan.slices)
        }
        for number, name in enumerate(slices):
            is_finished(folder / name, plan, number)
    manifest = finish(folder, slices=slices, allow_other_provider=allow_other_provider)
    shutil.rmtree(folder / UNFINISHED_FOLDER, ignore_errors=True)
    n_skipped = sum(len(read_faults(folder / shard.file)) for shard in manifest.shards)
    skipped = f", {plural(n_skipped, 'image')} skipped" if n_skipped else ""
    reporter.note(
        f"{folder}: {plural(manifest.n_rows, 'row')} in {plural(len(manifest.shards), 'shard')}"
        f"{skipped}"
    )
    return manifest


def new_or_continued(folder: Path, options: EncodeOptions) -> EncodeOptions:
    """Options that continue a set; to overwrite it, its files are removed first.

    Raises
    ------
    BankError
        If one cannot be removed.
    """
    if options.mode != "overwrite":
        return options
    _remove_shards(folder)
    return dataclasses.replace(options, mode="resume")


def shards_before(folder: Path, plan: Plan) -> set[int]:
    """Numbers of the shards of a plan that are there already."""
    numbers = range(len(plan.slices))
    return {number for number in numbers if (folder / shard_name(number)).is_file()}


def _remove_shards(folder: Path) -> None:
    """Remove the plan, the shards and the manifest of a set that is made again."""
    try:
        for name in (MANIFEST_NAME, PLAN_NAME):
            (folder / name).unlink(missing_ok=True)
        for path in folder.glob("shard-*.h5*"):
            path.unlink()
        for name in (SLICES_FOLDER, UNFINISHED_FOLDER):
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
    except OSError as error:
        raise BankError(cannot_write(error, folder)) from error
