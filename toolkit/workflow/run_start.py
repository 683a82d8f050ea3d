"""The first steps of every training: images, split, and the name of the run."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.datasets.decoding import Fault, write_fault_report
from hashkit.datasets.disjoint import check_disjoint
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.spec import open_spec
from hashkit.datasets.split import Split
from hashkit.errors import RunError
from hashkit.messages.os_errors import cannot_write
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run, run_name
from hashkit.workflow.reporter import Reporter, plural
from hashkit.workflow.training_source import TrainingSource

if TYPE_CHECKING:
    from hashkit.training.loggers import RunLogger

__all__ = [
    "NewRun",
    "Reading",
    "default_name",
    "existing_folder",
    "lengths_text",
    "open_images",
    "report_faults",
    "run_folders",
    "training_part",
]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes
    ----------
    n_workers
        Decoding threads; None for one per core.
    strict
        Stop at an image that cannot be used.
    download
        Download the missing files of a named set.
    leaks
        Look for queries that are near copies of training or database images.
    """

    n_workers: int | None = None
    strict: bool = False
    download: bool = False
    leaks: bool = False


@dataclasses.dataclass(frozen=True)
class NewRun:
    """What a run that is to be made and trained needs besides its settings.

    Attributes
    ----------
    source
        The images that it learns from.
    size
        Height and width that were asked for; see `hashkit.workflow.settings.make_config`.
    runs
        The folder that it is made in.
    name
        Its name; None for date and data.
    device, loggers
        As for `hashkit.train`.
    reading
        How its images are read.
    reporter
        Takes notes and progress.
    should_stop
        Whether to stop after the current step.
    """

    source: TrainingSource
    size: tuple[int, int] | None
    runs: Path
    name: str | None
    device: str
    reading: Reading
    loggers: Sequence[str | RunLogger]
    reporter: Reporter
    should_stop: Callable[[], bool]


def open_images(spec: DataSpec, reading: Reading, reporter: Reporter) -> tuple[ImageSet, Split]:
    """Open an image set and draw its split; downloads are reported."""
    return open_spec(spec, download=reading.download, progress=_DownloadNotes(reporter))


def training_part(images: ImageSet, split: Split, reading: Reading, reporter: Reporter) -> ImageSet:
    """The training images, after a check that queries and database have none in common.

    Images without labels cannot be evaluated: their queries are neither checked nor mentioned.
    """
    if images.labels is not None:
        report = check_disjoint(images, split, strict=reading.strict)
        if not report.is_disjoint:
            reporter.note(f"warning: {report.summary()}")
    if reading.leaks:
        from hashkit.workflow.leaks import leaks_of_split

        leaks_of_split(images, split, reading.n_workers, reporter).report(reporter)
    training = images.subset(split.training)
    n_training = plural(len(training), "training image")
    if images.labels is None:
        reporter.note(f"{images.name}: {n_training} of {len(images):,}, without labels")
    else:
        reporter.note(
            f"{images.name}, {split.protocol}: {n_training}, "
            f"{plural(len(split.queries), 'query', 'queries')}, {len(split.database):,} in the "
            "database"
        )
    return training


class _DownloadNotes:
    """Notes of downloads: one line for each new file and for each tenth of it."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._shown: dict[str, int] = {}

    def __call__(self, name: str, n_done: int, n_total: int | None) -> None:
        part = 10 * n_done // n_total if n_total else n_done >> 26
        if self._shown.get(name) != part:
            self._shown[name] = part
            of = f" of {n_total / 1e6:,.1f}" if n_total else ""
            self._reporter.note(f"downloading {name}: {n_done / 1e6:,.1f}{of} MB")


def existing_folder(folder: Path) -> Path:
    """The folder, which is created if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(cannot_write(error, folder)) from None
    return folder


def default_name(dataset: str, config: TrainConfig) -> str:
    """Name of a run: time, image set, recipe and code lengths."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    shown = "".join(c if c.isalnum() or c in "-_" else "-" for c in dataset)
    lengths = "-".join(map(str, config.lengths))
    return f"{now}-{shown}-{config.recipe}-{lengths}"


def run_folders(name: str, config: TrainConfig) -> list[str]:
    """Names of the run folders that a training makes."""
    lengths = config.lengths if len(config.lengths) > 1 else ()
    return [name, *(run_name(name, n_bits) for n_bits in lengths)]


def report_faults(run: Run, faults: list[Fault], reporter: Reporter) -> None:
    """Write the images that cannot be used to faults.jsonl, and note how many there are."""
    if faults:
        path = run.path / "faults.jsonl"
        write_fault_report(faults, path)
        reporter.note(f"{plural(len(faults), 'image')} could not be used, see {path}")


def lengths_text(config: TrainConfig) -> str:
    """Code lengths for a person: ``12, 48 bits``."""
    *others, last = config.lengths
    return "".join(f"{n_bits}, " for n_bits in others) + plural(last, "bit")
