"""What a run learns from, as flags and config.json say it."""

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

__all__ = ["Material", "run_spec"]


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
        triplets = Path(saved["triplets"]) if saved.get("triplets") else None
        return cls(DataSpec.from_dict(saved["data"]), triplets)

    def read_triplets(self) -> tuple[ImageSet, NDArray[np.int64]]:
        """Images and rows of the triplet list, which there must be."""
        assert self.triplets is not None  # noqa: S101 - the caller asked for it
        return read_triplets(self.triplets, Path(self.spec.root) if self.spec.root else None)


def run_spec(run: Run) -> DataSpec:
    """Image set and split of a run.

    Raises
    ------
    RunError
        If the run learned from a triplet list, which has neither queries nor database.
    """
    config = run.read_config()
    if config.get("triplets") is not None:
        raise RunError(
            f"{run.path} learned from a triplet list, which has neither queries nor a database: "
            "name the images, as in hashkit encode IMAGES --out bank.h5"
        )
    return DataSpec.from_dict(config["data"])
