"""What `hashkit bench` measures: models, and images to compare them on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hashkit.datasets.sets import open_image_set
from hashkit.datasets.spec import open_spec
from hashkit.errors import ConfigError, RunError
from hashkit.exporters.agreement import Sample
from hashkit.exporters.bench.contenders import BenchModel, read_models
from hashkit.exporters.samples import draw_apart, draw_sample
from hashkit.manifest import Manifest
from hashkit.runs.run import Run
from hashkit.workflow.models import find_exported, run_model
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.training_source import TrainingSource

__all__ = ["BenchSubject", "TrialSet", "WantedImages"]


@dataclasses.dataclass(frozen=True)
class WantedImages:
    """Images to compare models on.

    Attributes
    ----------
    spec
        A folder, list file or named set; None for those of the run.
    is_random
        Random pixels instead.
    n_queries, n_database
        The most images to take.

    Raises
    ------
    ConfigError
        If both kinds are given.
    """

    spec: str | None
    is_random: bool
    n_queries: int
    n_database: int

    def __post_init__(self) -> None:
        if self.spec is not None and self.is_random:
            raise ConfigError("`images` and `random` cannot be combined: choose one")


@dataclasses.dataclass(frozen=True)
class TrialSet:
    """Images, and a text that says where they came from."""

    sample: Sample
    source: str
    is_random: bool = False


@dataclasses.dataclass(frozen=True)
class BenchSubject:
    """Models, and the run that they belong to.

    Attributes
    ----------
    name
        Name of the benchmark.
    models
        The model files, the reference first.
    run
        Their run; None if the files were named.
    """

    name: str
    models: Sequence[BenchModel]
    run: Run | None = None

    @classmethod
    def open(
        cls, models: Sequence[Path], run: Path | None, runs: Path, reporter: Reporter = SILENT
    ) -> BenchSubject:
        """The named models, otherwise those of the named or the newest run.

        Raises
        ------
        RunError, ModelError, ConfigError
            If there is none, one cannot be read, or two cannot be compared.
        """
        if models:
            if run is not None:
                raise ConfigError("`model` and `run` cannot be combined: choose one")
            subject = cls(", ".join(path.name for path in models), read_models(models))
        else:
            found = find_exported(run, runs, reporter)
            paths = [run_model(found), *sorted(found.path.glob("model-*.onnx"))]
            subject = cls(found.path.resolve().name, read_models(paths), found)
        subject._warn_of_other_weights(reporter)
        return subject

    @property
    def manifest(self) -> Manifest:
        """Metadata of the first model."""
        return self.models[0].manifest

    def checkpoint(self) -> Path | None:
        """Checkpoint of the first model, if there is one."""
        if self.run is None:
            return None
        try:
            return self.run.checkpoint_path()
        except RunError:
            return None

    def images(self, wanted: WantedImages) -> TrialSet:
        """Images to compare on.

        Raises
        ------
        ConfigError
            If none are named, and there is no run.
        DatasetError
            If they cannot be opened.
        """
        counts = {"n_queries": wanted.n_queries, "n_database": wanted.n_database}
        if wanted.is_random:
            return TrialSet(_random(self.manifest, wanted), "random pixels", is_random=True)
        if wanted.spec is not None:
            images = open_image_set(wanted.spec)
            sample = draw_apart(images, self.manifest, **counts)
            return TrialSet(sample, f"{images.name}, evenly spaced")
        if self.run is None:
            raise ConfigError("name images with `images=...`, or take noise with `random=True`")
        source = TrainingSource.of_run(self.run)
        if source.triplets is not None:
            sample = draw_apart(source.read_triplets()[0], self.manifest, **counts)
            return TrialSet(sample, f"training images of {self.name}, evenly spaced")
        images, split = open_spec(source.spec)
        sample = draw_sample(images, split, self.manifest, **counts)
        return TrialSet(
            sample, f"{images.name}, {split.protocol}, split seed {split.seed}, evenly spaced"
        )

    def _warn_of_other_weights(self, reporter: Reporter) -> None:
        first = self.models[0]
        for other in self.models[1:]:
            weights = {one.manifest.weights_sha256 for one in (first, other)} - {""}
            if len(weights) > 1:
                reporter.note(
                    f"warning: {first.path} and {other.path} were made from different weights"
                )


def _random(manifest: Manifest, wanted: WantedImages) -> Sample:
    shape = (wanted.n_queries + wanted.n_database, manifest.height, manifest.width, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    return Sample(pixels[: wanted.n_queries], pixels[wanted.n_queries :])
