"""From the settings of a run to its trainer, new or resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from hashkit.datasets.decoding import Fault
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.sets import default_input_size
from hashkit.datasets.split import Split
from hashkit.errors import HashkitError
from hashkit.runs.config import TrainConfig
from hashkit.runs.named_code import loss_to_build, named_by, network_to_build
from hashkit.runs.run import Run
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
    with_unlabelled,
)
from hashkit.training.trainer import Trainer
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
from hashkit.workflow.settings import make_config
from hashkit.workflow.training_source import TrainingSource
from hashkit.workflow.unlabelled_images import protocol_text, unlabelled_images

__all__ = ["new_trainer", "resumed_trainer"]

Configure: TypeAlias = Callable[[tuple[int, int] | None], TrainConfig]


def new_trainer(
    new: NewRun,
    opened: tuple[ImageSet, Split] | None,
    settings: Mapping[str, Any],
    locks: contextlib.ExitStack,
) -> Trainer:
    """Make a new run, and its trainer.

    Parameters
    ----------
    opened
        The images of the run and their split; None for a triplet list.
    settings
        See `hashkit.workflow.settings.make_config`.
    locks
        Gets the lock of the run, from before it is made; close it after the training.
    """
    chosen = choose_device(new.device)
    source, reporter = new.source, new.reporter
    if source.triplets is not None and not settings.keys() & {"loss", "recipe"}:
        settings = dict(settings) | {"loss": "triplet"}

    def configure(own_size: tuple[int, int] | None) -> TrainConfig:
        config = make_config(settings, new.size, own_size)
        check_precision(config, chosen)
        return config

    config, data, faults = _load(source, opened, configure, new.reading, reporter)
    name = new.name or default_name(data.dataset, config)
    for folder in run_folders(name, config):
        Run.check_free(new.runs, folder)
    locks.enter_context(locked_run(existing_folder(new.runs) / name, "training"))
    run = Run.create(
        new.runs,
        name,
        RunConfig(
            data=source.spec,
            training=config,
            triplets=str(source.triplets) if source.triplets else None,
            device=str(chosen),
            threads=thread_count(),
        ),
    )
    report_faults(run, faults, reporter)
    reporter.note(
        f"run {run.path}: recipe {config.recipe}, network {config.network}, loss {config.loss}, "
        f"{lengths_text(config)}, on {chosen}"
    )
    try:
        return Trainer(config, data, run, chosen)
    except HashkitError:  # such as missing weights
        shutil.rmtree(run.path)
        raise


def resumed_trainer(
    run: Run,
    *,
    network: str | None = None,
    loss: str | None = None,
    device: str,
    reading: Reading,
    reporter: Reporter = SILENT,
) -> Trainer:
    """Trainer of a run that continues from its last snapshot.

    Parameters
    ----------
    run
        A `whole_run`, locked for this process.
    network, loss
        The run's network and loss, required if they are code from outside hashkit.
    device
        ``auto`` for the one it was started on.
    """
    saved = run.read_config()
    config = saved.training
    to_build = dataclasses.replace(
        config,
        network=network_to_build(config.network, network, run.config_path),
        loss=loss_to_build(config.loss, loss, run.config_path),
    )
    for setting in ("network", "loss"):
        recorded, used = getattr(config, setting), getattr(to_build, setting)
        if used != recorded:
            reporter.note(f"{run.config_path} has the {setting} {recorded}; {used} is used")
    chosen = choose_device(saved.device if device == "auto" else device)
    check_precision(config, chosen)
    source = TrainingSource.of_run(run)
    opened = None if source.triplets else open_images(source.spec, reading, reporter)
    with named_by(run.config_path):
        _, data, _ = _load(source, opened, lambda _: to_build, reading, reporter)
        trainer = Trainer(config, data, run, chosen, network=to_build.network, loss=to_build.loss)
    step = trainer.resume()
    reporter.note(
        f"run {run.path}: continuing after step {step:,} of {trainer.n_steps:,}, on {chosen}"
    )
    return trainer


def _load(
    source: TrainingSource,
    opened: tuple[ImageSet, Split] | None,
    configure: Configure,
    reading: Reading,
    reporter: Reporter,
) -> tuple[TrainConfig, TrainingData, list[Fault]]:
    """Decode the images; ``configure`` makes the settings from their own size."""
    if opened is None:
        return _load_triplets(source, configure, reading, reporter)
    images, split = opened
    config = configure(default_input_size(images))
    if learns_from_labels(config):
        is_multi_label = images.labels is not None and images.labels.ndim == 2
        check_learnable(config, from_triplets=False, is_multi_label=is_multi_label)
    else:
        check_learnable(config, from_triplets=False)
    further = unlabelled_images(source.spec, images, split, config, reporter)
    training = training_part(images, split, reading, reporter)
    with reporter.progress("decoding", len(training), "images") as bar:
        prepare = prepare_labelled if learns_from_labels(config) else prepare_unlabelled
        data, faults = prepare(
            training,
            config,
            protocol=protocol_text(split, config),
            n_workers=reading.n_workers,
            strict=reading.strict,
            progress=lambda done, _: bar.update(done),
        )
    if further is not None:
        with reporter.progress("decoding without labels", len(further), "images") as bar:
            data, more = with_unlabelled(
                data,
                further,
                config,
                n_workers=reading.n_workers,
                strict=reading.strict,
                progress=lambda done, _: bar.update(done),
            )
        faults = [*faults, *more]
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
