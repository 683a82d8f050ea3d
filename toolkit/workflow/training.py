"""From the settings of a run to its trainer, new or resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hashkit.datasets.decoding import Fault, write_fault_report
from hashkit.datasets.disjoint import check_disjoint
from hashkit.datasets.sets import default_input_size
from hashkit.datasets.spec import open_spec
from hashkit.errors import HashkitError, RunError
from hashkit.messages.os_errors import cannot_write
from hashkit.runs.config import TrainConfig
from hashkit.runs.named_network import named_by, network_to_build
from hashkit.runs.run import Run, run_name
from hashkit.runs.run_config import RunConfig
from hashkit.runs.run_lock import locked_run
from hashkit.training.checks import check_learnable, check_precision
from hashkit.training.data import TrainingData
from hashkit.training.devices import choose_device, thread_count
from hashkit.training.prepare import (
    learns_from_labels,
    prepare_labelled,
    prepare_triplets,
    prepare_unlabelled,
)
from hashkit.training.trainer import Trainer
from hashkit.workflow.reporter import SILENT, Reporter, plural
from hashkit.workflow.settings import make_config
from hashkit.workflow.training_source import TrainingSource

__all__ = ["Reading", "new_trainer", "resumed_trainer", "whole_run"]

Configure: TypeAlias = Callable[[tuple[int, int] | None], TrainConfig]


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
    """

    n_workers: int | None = None
    strict: bool = False
    download: bool = False


def new_trainer(
    source: TrainingSource,
    settings: Mapping[str, Any],
    *,
    size: tuple[int, int] | None,
    runs: Path,
    name: str | None,
    device: str,
    reading: Reading,
    locks: contextlib.ExitStack,
    reporter: Reporter = SILENT,
) -> Trainer:
    """Make a new run below ``runs``, and its trainer.

    Parameters
    ----------
    settings, size
        See `hashkit.workflow.settings.make_config`.
    name
        Name of the run; None for date and data.
    locks
        Gets the lock of the run, from before it is made; close it after the training.
    """
    chosen = choose_device(device)
    if source.triplets is not None and not settings.keys() & {"loss", "recipe"}:
        settings = dict(settings) | {"loss": "triplet"}

    def configure(own_size: tuple[int, int] | None) -> TrainConfig:
        config = make_config(settings, size, own_size)
        check_precision(config, chosen)
        return config

    config, data, faults = _load(source, configure, reading, reporter)
    name = name or _default_name(data, config)
    for folder in _folders(name, config):
        Run.check_free(runs, folder)
    locks.enter_context(locked_run(_existing(runs) / name, "training"))
    run = Run.create(
        runs,
        name,
        RunConfig(
            data=source.spec,
            training=config,
            triplets=str(source.triplets) if source.triplets else None,
            device=str(chosen),
            threads=thread_count(),
        ),
    )
    _report_faults(run, faults, reporter)
    reporter.note(
        f"run {run.path}: recipe {config.recipe}, network {config.network}, loss {config.loss}, "
        f"{_lengths(config)}, on {chosen}"
    )
    try:
        return Trainer(config, data, run, chosen)
    except HashkitError:  # such as missing weights
        shutil.rmtree(run.path)
        raise


def whole_run(run: Run) -> Run:
    """The run that was trained; for a run of one of several code lengths, that of all of them."""
    shared = run.read_config().shared
    return run if shared is None else Run.open(run.path.resolve().parent / shared.run)


def resumed_trainer(
    run: Run,
    *,
    network: str | None = None,
    device: str,
    reading: Reading,
    reporter: Reporter = SILENT,
) -> Trainer:
    """Trainer of a run that continues from its last snapshot.

    Parameters
    ----------
    run
        A `whole_run`, locked for this process.
    network
        The run's network, required if it is code from outside hashkit.
    device
        ``auto`` for the one it was started on.
    """
    saved = run.read_config()
    config = saved.training
    to_build = network_to_build(config.network, network, run.config_path)
    if to_build != config.network:
        reporter.note(f"{run.config_path} has the network {config.network}; {to_build} is used")
    chosen = choose_device(saved.device if device == "auto" else device)
    check_precision(config, chosen)
    _, data, _ = _load(TrainingSource.of_run(run), lambda _: config, reading, reporter)
    with named_by(run.config_path):
        trainer = Trainer(config, data, run, chosen, network=to_build)
    step = trainer.resume()
    reporter.note(
        f"run {run.path}: continuing after step {step:,} of {trainer.n_steps:,}, on {chosen}"
    )
    return trainer


def _load(
    source: TrainingSource, configure: Configure, reading: Reading, reporter: Reporter
) -> tuple[TrainConfig, TrainingData, list[Fault]]:
    """Open and decode the images; ``configure`` makes the settings from their own size."""
    if source.triplets is not None:
        return _load_triplets(source, configure, reading, reporter)
    images, split = open_spec(
        source.spec, download=reading.download, progress=_DownloadNotes(reporter)
    )
    config = configure(default_input_size(images))
    if learns_from_labels(config):
        is_multi_label = images.labels is not None and images.labels.ndim == 2
        check_learnable(config, from_triplets=False, is_multi_label=is_multi_label)
    else:
        check_learnable(config, from_triplets=False)
    report = check_disjoint(images, split, strict=reading.strict)
    if not report.is_disjoint:
        reporter.note(f"warning: {report.summary()}")
    training = images.subset(split.training)
    reporter.note(
        f"{images.name}, {split.protocol}: {plural(len(training), 'training image')}, "
        f"{len(split.queries):,} queries, {len(split.database):,} in the database"
    )
    with reporter.progress("decoding", len(training), "images") as bar:
        prepare = prepare_labelled if learns_from_labels(config) else prepare_unlabelled
        data, faults = prepare(
            training,
            config,
            protocol=split.protocol,
            n_workers=reading.n_workers,
            strict=reading.strict,
            progress=lambda done, _: bar.update(done),
        )
    return config, data, faults


def _load_triplets(
    source: TrainingSource, configure: Configure, reading: Reading, reporter: Reporter
) -> tuple[TrainConfig, TrainingData, list[Fault]]:
    images, triplets = source.read_triplets()
    config = configure(None)
    check_learnable(config, from_triplets=True)
    reporter.note(
        f"{images.name}: {plural(len(triplets), 'triplet')} of {plural(len(images), 'image')}"
    )
    with reporter.progress("decoding", len(images), "images") as bar:
        data, faults = prepare_triplets(
            images,
            triplets,
            config,
            n_workers=reading.n_workers,
            strict=reading.strict,
            progress=lambda done, _: bar.update(done),
        )
    return config, data, faults


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


def _existing(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(cannot_write(error, folder)) from None
    return folder


def _default_name(data: TrainingData, config: TrainConfig) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    dataset = "".join(c if c.isalnum() or c in "-_" else "-" for c in data.dataset)
    lengths = "-".join(map(str, config.lengths))
    return f"{now}-{dataset}-{config.recipe}-{lengths}"


def _folders(name: str, config: TrainConfig) -> list[str]:
    """Names of the run folders that a training makes."""
    lengths = config.lengths if len(config.lengths) > 1 else ()
    return [name, *(run_name(name, n_bits) for n_bits in lengths)]


def _lengths(config: TrainConfig) -> str:
    *others, last = config.lengths
    return "".join(f"{n_bits}, " for n_bits in others) + plural(last, "bit")


def _report_faults(run: Run, faults: list[Fault], reporter: Reporter) -> None:
    if faults:
        path = run.path / "faults.jsonl"
        write_fault_report(faults, path)
        reporter.note(f"{plural(len(faults), 'image')} could not be used, see {path}")
