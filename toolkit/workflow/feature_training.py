"""Trainings on frozen features: an embedder is run once, and a head is learned on its features."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import DatasetError, ModelError, RunError
from hashkit.features.computing import FeatureSet, FeatureStore
from hashkit.features.embedder import Embedder, read_embedder, write_embedder
from hashkit.features.fitting import fit_head
from hashkit.features.head_checkpoint import library_versions, write_head
from hashkit.messages.os_errors import cannot_write
from hashkit.runs.config import TrainConfig
from hashkit.runs.length_runs import copy_record, new_length_run
from hashkit.runs.named_code import loss_to_build, network_to_build, recorded_network
from hashkit.runs.run import Run, run_name, write_json
from hashkit.runs.run_config import RunConfig
from hashkit.runs.run_lock import locked_run
from hashkit.threads import check_threads
from hashkit.training.loggers.group import LoggerGroup
from hashkit.training.recipes import model_manifest
from hashkit.workflow.feature_settings import (
    check_device,
    check_labels,
    configured,
    require_packages,
    with_enough_images,
)
from hashkit.workflow.loggers import logger_group, logging_config
from hashkit.workflow.reporter import SILENT, Reporter, plural
from hashkit.workflow.run_start import (
    NewRun,
    Reading,
    default_name,
    existing_folder,
    lengths_text,
    open_images,
    report_faults,
    run_folders,
    training_part,
)
from hashkit.workflow.training_source import TrainingSource
from hashkit.workflow.unlabelled_images import check_used

__all__ = ["find_embedder", "resume_on_features", "train_on_features"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Job:
    """One training on frozen features."""

    run: Run
    config: TrainConfig
    embedder: Embedder
    images: ImageSet
    protocol: str
    device: str
    reading: Reading
    reporter: Reporter
    should_stop: Callable[[], bool]
    loggers: LoggerGroup
    loss: str | None = None  # the loss to build, if its file is not where the settings say


def train_on_features(
    new: NewRun, opened: tuple[ImageSet, Split], settings: Mapping[str, Any]
) -> Run:
    """Make a new run and train it.

    Parameters
    ----------
    opened
        The images of the run, and their split.
    settings
        See `hashkit.workflow.settings.make_config`.
    """
    loggers = logger_group(new.loggers, new.reporter)
    images, split = opened
    source, runs, reporter = new.source, new.runs, new.reporter
    config, embedder = configured(settings, new.size, new.device, reporter)
    config = with_enough_images(config, settings, len(split.training), reporter)
    check_labels(config, images)
    check_used(source.spec, config)
    training = training_part(images, split, new.reading, reporter)
    name = new.name or default_name(images.name, config)
    for folder in run_folders(name, config):
        Run.check_free(runs, folder)
    with locked_run(existing_folder(runs) / name, "training"):
        run = _new_run(
            runs, name, RunConfig(data=source.spec, training=config, device=new.device), embedder
        )
        reporter.note(
            f"run {run.path}: recipe {config.recipe}, {recorded_network(config.network)}, "
            f"{config.loss}, {lengths_text(config)}"
        )
        job = _Job(
            run=run,
            config=config,
            embedder=embedder,
            images=training,
            protocol=split.protocol,
            device=new.device,
            reading=new.reading,
            reporter=reporter,
            should_stop=new.should_stop,
            loggers=loggers,
        )
        try:
            return _train(job)
        except DatasetError:
            if not (new.reading.strict and _store(job).n_done):  # strict keeps computed features
                run.discard(FeatureStore.paths(run.path))
            raise


def _new_run(runs: Path, name: str, config: RunConfig, embedder: Embedder) -> Run:
    try:
        return Run.create(runs, name, config, lambda path: write_embedder(path, embedder))
    except OSError as error:
        raise RunError(cannot_write(error, error.filename or runs / name)) from None


def resume_on_features(
    run: Run,
    *,
    network: str | None,
    loss: str | None,
    device: str,
    reading: Reading,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    loggers: LoggerGroup,
) -> Run:
    """Continue a run on frozen features, which is locked for this process.

    Parameters
    ----------
    network
        None, or the network of the run, which is only compared.
    loss
        The run's loss, required if it is code from outside hashkit.
    """
    saved = run.read_config()
    config = saved.training
    if network is not None:
        network_to_build(config.network, network, run.config_path)
    to_build = loss_to_build(config.loss, loss, run.config_path)
    if to_build != config.loss:
        reporter.note(f"{run.config_path} has the loss {config.loss}; {to_build} is used")
    if _is_complete(run):
        reporter.note(f"run {run.path} is trained already")
        return run
    require_packages(config)
    embedder = find_embedder(run)
    source = TrainingSource.of_run(run)
    images, split = open_images(source.spec, reading, reporter)
    training = training_part(images, split, reading, reporter)
    device = saved.device if device == "auto" else device
    check_device(device, config)
    job = _Job(
        run=run,
        config=config,
        embedder=embedder,
        images=training,
        protocol=split.protocol,
        device=device,
        reading=reading,
        reporter=reporter,
        should_stop=should_stop,
        loggers=loggers,
        loss=to_build,
    )
    return _train(job)


def _is_complete(run: Run) -> bool:
    """Whether the run is trained, and every code length has its checkpoint and its summary."""
    try:
        parts = run.per_length().values() if run.is_trained else ()
        return bool(parts) and all(part.is_trained and part.checkpoint_path() for part in parts)
    except RunError:
        return False


def find_embedder(run: Run) -> Embedder:
    """The embedder of a run, from its folder or from that of the training it is a part of.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    saved = run.read_config()
    places = [run.embedder_path]
    if saved.shared is not None:
        places.append(Run(run.path.resolve().parent / saved.shared.run).embedder_path)
    for path in places:
        if path.is_file():
            try:
                embedder = read_embedder(path)
            except ModelError as error:
                raise RunError(f"{error}: train a new run") from None
            _check_belongs(embedder, saved.training, path)
            return embedder
    raise RunError(
        f"{run.path}: expected its embedder, {places[-1]}, found no such file: train a new run"
    )


def _check_belongs(embedder: Embedder, config: TrainConfig, path: Path) -> None:
    expected = (config.height, config.width, config.resize)
    found = (*embedder.size, embedder.resize)
    if found != expected:
        shown = ["{} x {} pixels, {}".format(*one) for one in (expected, found)]
        raise RunError(
            f"{path}: expected an embedder for the run's {shown[0]}, found one for {shown[1]}: "
            "train a new run"
        )


def _train(job: _Job) -> Run:
    started = time.perf_counter()
    n_workers = check_threads(job.reading.n_workers, "n_workers")
    try:
        found = _features(job, n_workers)
        if found is None:
            return job.run
        report_faults(job.run, found.faults, job.reporter)
        if not job.config.is_fitted:
            return _learn(job, found)
        with job.loggers.running(logging_config(job.run, 0, 1)):
            _fit(job, found, started)
    except OSError as error:
        raise RunError(
            f"{cannot_write(error, error.filename or job.run.path)}; then continue with "
            f'`hashkit.resume("{job.run.path}")`'
        ) from error
    return job.run


def _store(job: _Job) -> FeatureStore:
    return FeatureStore(job.run.path, job.images, job.embedder, n_views=job.config.n_views)


def _features(job: _Job, n_workers: int) -> FeatureSet | None:
    """The features of the training images; None if the computation was stopped."""
    run, reporter = job.run, job.reporter
    store = _store(job)
    if not store.is_complete:
        for other in _other_runs(run):
            if store.take_from(other):
                reporter.note(
                    f"using the features of {plural(len(job.images), 'image')} from {other}"
                )
                break
    n_done = store.n_done
    with reporter.progress("features", len(job.images), "images", start=n_done) as bar:
        is_complete = store.compute(
            job.device,
            n_workers=n_workers,
            strict=job.reading.strict,
            progress=bar.update,
            should_stop=job.should_stop,
        )
    if is_complete:
        return store.read(n_workers)
    reporter.note(
        f"stopped after the features of {store.n_done:,} of {len(job.images):,} images; continue "
        f'with `hashkit.resume("{run.path}")`'
    )
    return None


def _other_runs(run: Run) -> list[Path]:
    with contextlib.suppress(OSError):
        folders = sorted(run.path.resolve().parent.iterdir())
        return [folder for folder in folders if folder.name != run.path.name and folder.is_dir()]
    return []


def _learn(job: _Job, found: FeatureSet) -> Run:
    """Train the head by gradients, in torch."""
    from hashkit.training.devices import choose_device
    from hashkit.training.prepare import prepare_features
    from hashkit.training.trainer import Trainer
    from hashkit.workflow.fitting import finish_training

    run, config = job.run, job.config
    to_build = dataclasses.replace(config, loss=job.loss or config.loss)
    data = prepare_features(job.images, found.rows, found.views, to_build, protocol=job.protocol)
    trainer = Trainer(config, data, run, choose_device(job.device), loss=job.loss)
    if run.snapshots():
        step = trainer.resume()
        job.reporter.note(f"continuing after step {step:,} of {trainer.n_steps:,}")
    return finish_training(trainer, job.reporter, job.should_stop, job.loggers)


def _fit(job: _Job, found: FeatureSet, started: float) -> None:
    """Fit a head of each code length."""
    run, config = job.run, job.config
    heads = {}
    is_one = len(config.lengths) == 1
    reporter = SILENT if is_one else job.reporter
    with reporter.progress(config.loss, len(config.lengths), "heads") as bar:
        for n_bits in config.lengths:
            heads[n_bits] = fit_head(config.loss, found.features, n_bits, config.seed)
            bar.update(len(heads))
    seconds = time.perf_counter() - started
    if is_one:
        _write_head(job, run, *next(iter(heads.items())))
    speed = {"seconds": seconds, "images_per_second": len(job.images) / max(seconds, 1e-9)}
    summary = {
        "step": 1,
        "n_steps": 1,
        "best_step": None,
        "best_score": None,
        **speed,
        "run": str(run.path),
        "checkpoint": str(run.best_path if is_one else run.path),
    }
    write_json(run.summary_path, summary)
    job.loggers.log(1, speed)
    for n_bits, head in heads.items() if not is_one else ():
        with locked_run(run.path.parent / run_name(run.path.name, n_bits), "export"):
            target, is_new = new_length_run(run, config, n_bits)
            if is_new:
                _write_head(job, target, n_bits, head)
                copy_record(run, target)
    job.reporter.note(
        f"fitted {config.loss} to {plural(len(found.rows), 'image')} in {seconds:,.0f} s"
    )


def _write_head(job: _Job, run: Run, n_bits: int, head: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the checkpoint of one code length to its run."""
    config = dataclasses.replace(job.config, lengths=(n_bits,))
    manifest = model_manifest(
        config, dataset=job.images.name, protocol=job.protocol, versions=library_versions()
    )
    write_head(run.best_path, head, config, manifest)
