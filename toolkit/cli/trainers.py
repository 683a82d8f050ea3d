"""From the settings of a run to a trainer that is ready to go, new or resumed."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.cli.console import note, plural, progress_bar
from hashkit.cli.locate import find_run
from hashkit.cli.train_settings import flags, make_config
from hashkit.datasets.disjoint import check_disjoint
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.screening import Fault, write_fault_report
from hashkit.datasets.sets import default_input_size
from hashkit.datasets.spec import DataSpec
from hashkit.datasets.triplets import read_triplets
from hashkit.errors import ConfigError
from hashkit.runs import Run
from hashkit.training.config import TrainConfig
from hashkit.training.data import TrainingData
from hashkit.training.devices import choose_device
from hashkit.training.prepare import prepare_labelled, prepare_triplets
from hashkit.training.trainer import Trainer

__all__ = ["Material", "Reading", "begin", "resume"]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes
    ----------
    n_workers
        Decoding threads; None for one a core.
    strict
        Stop at an image that cannot be used.
    download
        Fetch the files of a named set that are not there.
    """

    n_workers: int | None = None
    strict: bool = False
    download: bool = False


@dataclasses.dataclass(frozen=True)
class Material:
    """What a run learns from.

    Attributes
    ----------
    spec
        The image set and its split.
    triplets
        A triplet list, in place of labels.
    """

    spec: DataSpec
    triplets: Path | None = None

    @classmethod
    def of_run(cls, run: Run) -> Material:
        """What a run learned from, as its config.json says."""
        saved = run.read_config()
        triplets = Path(saved["triplets"]) if saved["triplets"] else None
        return cls(DataSpec.from_dict(saved["data"]), triplets)

    def read_triplets(self) -> tuple[ImageSet, NDArray[np.int64]]:
        """Images and rows of the triplet list, which there must be."""
        assert self.triplets is not None  # noqa: S101 - the caller asked for it
        return read_triplets(self.triplets, Path(self.spec.root) if self.spec.root else None)


def begin(
    material: Material,
    settings: Mapping[str, Any],
    *,
    size: str | None,
    runs: Path,
    name: str | None,
    device: str,
    reading: Reading,
) -> Trainer:
    """Make a new run below ``runs``, and its trainer.

    Parameters
    ----------
    settings, size
        See `hashkit.cli.train_settings.make_config`.
    name
        Of the run; None for date and data.
    """
    chosen = choose_device(device)
    if name is not None:
        Run.check_free(runs, name)
    config, data, faults = _load(material, settings, size, reading)
    run = Run.create(
        runs,
        name or _default_name(data, config),
        {
            "data": material.spec.to_dict(),
            "triplets": str(material.triplets) if material.triplets else None,
            "training": config.to_dict(),
            "device": str(chosen),
        },
    )
    _report_faults(run, faults)
    note(f"run {run.path}: {config.network}, {plural(config.n_bits, 'bit')}, on {chosen}")
    return Trainer(config, data, run, chosen)


def resume(
    path: Path | None, runs: Path, settings: Mapping[str, Any], *, device: str, reading: Reading
) -> Trainer:
    """Trainer of a run that goes on from its last snapshot.

    Parameters
    ----------
    path
        The run; None for the newest.
    settings
        Must be empty: a run keeps those it was begun with.
    device
        ``auto`` for the one it was begun on.

    Raises
    ------
    ConfigError
        If there are settings.
    """
    if settings:
        raise ConfigError(f"a resumed run keeps its settings: leave out {flags(settings)}")
    run = find_run(path, runs)
    saved = run.read_config()
    config, data, _ = _load(Material.of_run(run), saved["training"], None, reading)
    chosen = choose_device(saved["device"] if device == "auto" else device)
    trainer = Trainer(config, data, run, chosen)
    step = trainer.resume()
    note(f"run {run.path}: going on after step {step:,} of {trainer.n_steps:,}, on {chosen}")
    return trainer


def _load(
    material: Material, settings: Mapping[str, Any], size: str | None, reading: Reading
) -> tuple[TrainConfig, TrainingData, list[Fault]]:
    """Open and decode the images; their size is the default input size."""
    if material.triplets is not None:
        return _load_triplets(material, settings, size, reading)
    images, split = material.spec.open(download=reading.download, progress=_DownloadNotes())
    config = make_config(settings, size, default_input_size(images))
    report = check_disjoint(images, split, strict=reading.strict)
    if not report.is_disjoint:
        note(f"warning: {report.summary()}")
    training = images.subset(split.training)
    note(
        f"{images.name}, {split.protocol}: {plural(len(training), 'training image')}, "
        f"{len(split.queries):,} queries, {len(split.database):,} in the database"
    )
    with progress_bar("decoding", len(training), "images") as bar:
        data, faults = prepare_labelled(
            training,
            config,
            protocol=split.protocol,
            n_workers=reading.n_workers,
            strict=reading.strict,
            progress=lambda done, _: bar.update(done),
        )
    return config, data, faults


def _load_triplets(
    material: Material, settings: Mapping[str, Any], size: str | None, reading: Reading
) -> tuple[TrainConfig, TrainingData, list[Fault]]:
    images, triplets = material.read_triplets()
    config = make_config(settings, size, None)
    note(f"{images.name}: {plural(len(triplets), 'triplet')} of {plural(len(images), 'image')}")
    with progress_bar("decoding", len(images), "images") as bar:
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
    """Progress of downloads: a line for each new file and each tenth of it."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def __call__(self, name: str, n_done: int, n_total: int | None) -> None:
        part = 10 * n_done // n_total if n_total else n_done >> 26
        if self._shown.get(name) != part:
            self._shown[name] = part
            of = f" of {n_total / 1e6:,.1f}" if n_total else ""
            note(f"downloading {name}: {n_done / 1e6:,.1f}{of} MB")


def _default_name(data: TrainingData, config: TrainConfig) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    dataset = "".join(c if c.isalnum() or c in "-_" else "-" for c in data.dataset)
    return f"{now}-{dataset}-{config.network}-{config.n_bits}"


def _report_faults(run: Run, faults: list[Fault]) -> None:
    if faults:
        path = run.path / "faults.jsonl"
        write_fault_report(faults, path)
        note(f"{plural(len(faults), 'image')} could not be used, see {path}")
