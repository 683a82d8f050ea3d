"""The images that a run learns from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.triplets import read_triplets
from hashkit.errors import RunError
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run

__all__ = ["TrainingSource", "run_spec"]


@dataclasses.dataclass(frozen=True)
class TrainingSource:
    """The images that a run learns from.

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
    def of_run(cls, run: Run) -> TrainingSource:
        """What a run learned from, by its config.json.

        Raises
        ------
        RunError
            If that does not name the images.
        """
        config = run.read_config()
        if config.triplets is not None:
            return cls(config.data or DataSpec(), Path(config.triplets))
        return cls(_spec(run, config.data))

    def read_triplets(self) -> tuple[ImageSet, NDArray[np.int64]]:
        """Images and rows of the triplet list, which must not be None."""
        assert self.triplets is not None  # noqa: S101 - the caller asked for it
        return read_triplets(self.triplets, Path(self.spec.root) if self.spec.root else None)


def run_spec(run: Run) -> DataSpec:
    """Image set and split of a run.

    Raises
    ------
    RunError
        If the run learned from a triplet list, which has neither queries nor database, or its
        config.json does not name the images.
    """
    config = run.read_config()
    if config.triplets is not None:
        raise RunError(
            f"{run.path} learned from a triplet list, which has neither queries nor a database: "
            "name the images, as in hashkit encode IMAGES --out bank.h5"
        )
    return _spec(run, config.data)


def _spec(run: Run, data: DataSpec | None) -> DataSpec:
    if data is None:
        raise RunError(
            f"{run.config_path}: expected the run's images under data, found none: name them "
            "there, as RunConfig(data=DataSpec(...)) does when the run is made"
        )
    return data
