"""Trainings on frozen features: an embedder is run once, and a head is learned on its features."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import ConfigError, ModelError, RunError
from hashkit.features.computing import FeatureSet, FeatureStore
from hashkit.features.embedder import Embedder, read_embedder, write_embedder
from hashkit.features.fitting import fit_head
from hashkit.features.head_checkpoint import library_versions, write_head
from hashkit.manifest import Manifest
from hashkit.messages.os_errors import cannot_write
from hashkit.runs.config import TrainConfig
from hashkit.runs.length_runs import copy_record, new_length_run
from hashkit.runs.named_network import absolute_network, recorded_network
from hashkit.runs.run import Run, run_name, write_json
from hashkit.runs.run_config import RunConfig
from hashkit.runs.run_lock import locked_run
from hashkit.threads import check_threads
from hashkit.training.recipes import RECIPES, describe_recipe, settings_of
from hashkit.workflow.embedders import open_embedder
from hashkit.workflow.extras import require
from hashkit.workflow.reporter import Reporter, plural
from hashkit.workflow.run_start import (
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

__all__ = ["find_embedder", "resume_on_features", "train_on_features"]


@dataclasses.dataclass(frozen=True, eq=False)
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


def train_on_features(
    source: TrainingSource,
    opened: tuple[ImageSet, Split],
    settings: Mapping[str, Any],
    *,
    size: tuple[int, int] | None,
    runs: Path,
    name: str | None,
    device: str,
    reading: Reading,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> Run:
    """Make a new run below ``runs`` and train it; the other parameters are those of `train`.

    Parameters
    ----------
    opened
        The images of ``source``, and their split.
    settings, size
        See `hashkit.workflow.settings.make_config`.
    """
    images, split = opened
    config, embedder = _configured(settings, size)
    config = _with_enough_images(config, settings, len(split.training), reporter)
    if source.triplets is not None:
        raise ConfigError(
            "`triplets` does not go with frozen features: leave it out, or train a network"
        )
    _check_labels(config, images)
    training = training_part(images, split, reading, reporter)
    name = name or default_name(images.name, config)
    for folder in run_folders(name, config):
        Run.check_free(runs, folder)
    with locked_run(existing_folder(runs) / name, "training"):
        run = Run.create(runs, name, RunConfig(data=source.spec, training=config, device=device))
        reporter.note(
            f"run {run.path}: recipe {config.recipe}, {recorded_network(config.network)}, "
            f"{config.loss}, {lengths_text(config)}"
        )
        try:
            write_embedder(run.embedder_path, embedder)
        except OSError as error:
            shutil.rmtree(run.path)
            raise RunError(cannot_write(error, run.embedder_path)) from None
        return _train(
            _Job(
                run, config, embedder, training, split.protocol, device, reading, reporter,
                should_stop,
            )
        )  # fmt: skip


def resume_on_features(
    run: Run,
    *,
    device: str,
    reading: Reading,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> Run:
    """Continue a run on frozen features, which is locked for this process.

    Raises
    ------
    RunError
        If it was stopped before its embedder was there.
    """
    saved = run.read_config()
    config = saved.training
    _require_packages(config)
    embedder = find_embedder(run)
    source = TrainingSource.of_run(run)
    images, split = open_images(source.spec, reading, reporter)
    training = training_part(images, split, reading, reporter)
    device = saved.device if device == "auto" else device
    return _train(
        _Job(
            run, config, embedder, training, split.protocol, device, reading, reporter, should_stop
        )
    )


def find_embedder(run: Run) -> Embedder:
    """The embedder of a run, which lies in its folder, or in that of the training it is a part of.

    Raises
    ------
    RunError
        If it is missing or damaged.
    """
    shared = run.read_config().shared
    places = [run.embedder_path]
    if shared is not None:
        places.append(Run(run.path.resolve().parent / shared.run).embedder_path)
    for path in places:
        if path.is_file():
            try:
                return read_embedder(path)
            except ModelError as error:
                raise RunError(f"{error}: train a new run") from None
    raise RunError(
        f"{run.path}: expected its embedder, {places[-1]}, found no such file: train a new run"
    )


def _configured(
    settings: Mapping[str, Any], size: tuple[int, int] | None
) -> tuple[TrainConfig, Embedder]:
    values, recipe_size = settings_of(dict(settings))
    usual = RECIPES[values["recipe"]].config
    if values["network"] != usual.network:
        recipe_size = None
    # What only a loss needs, if the recipe's own is replaced by a method that is fitted.
    plain = {"hidden": 0, "dropout": 0.0, "standardise": False, "holdout": 0.0}
    probe = TrainConfig.from_dict(values | {"freeze": -1})
    if probe.is_fitted:
        values |= {name: value for name, value in plain.items() if name not in settings}
    _require_packages(probe)
    _refuse_image_settings(settings)
    embedder = open_embedder(probe, size or recipe_size)
    if "resize" not in settings:
        values["resize"] = embedder.resize
    else:
        embedder = dataclasses.replace(embedder, resize=values["resize"])
    values |= {"network": absolute_network(values["network"]), "freeze": -1}
    values |= {"augmentation": "none", "cutout": 0.0, "cutmix": 0.0, "mirror": False}
    values |= {"height": embedder.height, "width": embedder.width, "calibrate": False}
    return TrainConfig.from_dict(values), embedder


def _with_enough_images(
    config: TrainConfig, settings: Mapping[str, Any], n_images: int, reporter: Reporter
) -> TrainConfig:
    """Replace the recipe's ITQ, which needs a principal component per bit, for a few images."""
    if config.loss != "itq" or "loss" in settings or n_images >= 2 * max(config.lengths):
        return config
    reporter.note(
        f"method lsh: {plural(n_images, 'training image')} are too few to fit itq to "
        f"{max(config.lengths)} bits"
    )
    return dataclasses.replace(config, loss="lsh")


def _refuse_image_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of networks that see the images again and again."""
    given = [name for name in ("augmentation", "cutout", "cutmix", "freeze", "stage_decay")
             if settings.get(name) not in (None, "none", 0, 0.0, -1)]  # fmt: skip
    if given:
        raise ConfigError(
            f"`{given[0]}` does not go with frozen features, which are computed once: leave it out"
        )


def _check_labels(config: TrainConfig, images: ImageSet) -> None:
    """Check that the loss can learn from the images, before any is decoded."""
    if config.is_fitted:
        return
    from hashkit.training.checks import check_learnable
    from hashkit.training.prepare import check_classes, learns_from_labels, no_labels

    has_labels = images.labels is not None
    check_learnable(
        config,
        from_triplets=False,
        is_multi_label=learns_from_labels(config) and has_labels and images.is_multi_label,
    )
    if learns_from_labels(config):
        if not has_labels:
            raise no_labels(images)
        check_classes(images)


def _require_packages(config: TrainConfig) -> None:
    require("onnx", "a training on frozen features", "onnx", "safetensors")
    if not config.is_fitted:
        require("train", f"the loss {config.loss}", "torch")


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
        _fit(job, found, started)
    except OSError as error:
        raise RunError(
            f"{cannot_write(error, error.filename or job.run.path)}; then continue with "
            f'`hashkit.resume("{job.run.path}")`'
        ) from error
    return job.run


def _features(job: _Job, n_workers: int) -> FeatureSet | None:
    """The features of the training images; None if the computation was stopped."""
    run, reporter = job.run, job.reporter
    store = FeatureStore(run.path, job.images, job.embedder, n_views=job.config.n_views)
    if not store.is_complete:
        for other in _other_runs(run):
            if store.take_from(other):
                reporter.note(
                    f"features of {plural(len(job.images), 'image')} are those of {other}"
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
        return [one for one in folders if one.name != run.path.name and one.is_dir()]
    return []


def _learn(job: _Job, found: FeatureSet) -> Run:
    """Train the head by gradients, in torch."""
    from hashkit.training.devices import choose_device
    from hashkit.training.prepare import prepare_features
    from hashkit.training.trainer import Trainer
    from hashkit.workflow.fitting import finish_training

    run, config = job.run, job.config
    data = prepare_features(job.images, found.rows, found.views, config, protocol=job.protocol)
    trainer = Trainer(config, data, run, choose_device(job.device))
    if run.snapshots():
        step = trainer.resume()
        job.reporter.note(f"continuing after step {step:,} of {trainer.n_steps:,}")
    return finish_training(trainer, job.reporter, job.should_stop)


def _fit(job: _Job, found: FeatureSet, started: float) -> None:
    """Fit a head of each code length."""
    run, config = job.run, job.config
    heads = {}
    with job.reporter.progress(config.loss, len(config.lengths), "heads") as bar:
        for n_bits in config.lengths:
            heads[n_bits] = fit_head(config.loss, found.features, n_bits, config.seed)
            bar.update(len(heads))
    is_one = len(heads) == 1
    seconds = time.perf_counter() - started
    checkpoint = run.best_path if is_one else run.path
    write_one = _writer(job)
    if is_one:
        write_one(run, *next(iter(heads.items())))
    summary = {
        "step": 1,
        "n_steps": 1,
        "best_step": None,
        "best_score": None,
        "seconds": seconds,
        "images_per_second": len(job.images) / max(seconds, 1e-9),
        "run": str(run.path),
        "checkpoint": str(checkpoint),
    }
    write_json(run.summary_path, summary)
    for n_bits, head in heads.items() if not is_one else ():
        with locked_run(run.path.parent / run_name(run.path.name, n_bits), "export"):
            target, is_new = new_length_run(run, config, n_bits)
            if is_new:
                write_one(target, n_bits, head)
                copy_record(run, target)
    job.reporter.note(
        f"fitted {config.loss} to {plural(len(found.rows), 'image')} in {seconds:,.0f} s"
    )


def _writer(job: _Job) -> Callable[[Run, int, Mapping[str, NDArray[np.float32]]], None]:
    """The function that writes the checkpoint of a run and code length."""
    config = job.config

    def write(run: Run, n_bits: int, head: Mapping[str, NDArray[np.float32]]) -> None:
        manifest = Manifest(
            n_bits=n_bits,
            height=config.height,
            width=config.width,
            resize=config.resize,
            network=recorded_network(config.network),
            loss=config.loss,
            recipe=describe_recipe(config),
            dataset=job.images.name,
            protocol=job.protocol,
            seed=config.seed,
            versions=library_versions(),
        )
        own = dataclasses.replace(config, lengths=(n_bits,))
        write_head(run.best_path, head, own, manifest)

    return write
