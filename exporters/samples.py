"""The images of a run that its model is calibrated with, and those it is compared on."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.datasets.screening import load_pixels
from hashkit.datasets.split import Split
from hashkit.errors import ConfigError
from hashkit.exporters.agreement import Sample
from hashkit.manifest import Manifest

__all__ = [
    "N_CALIBRATION",
    "N_DATABASE",
    "N_QUERIES",
    "TrialImages",
    "draw_apart",
    "draw_from_split",
    "draw_from_training",
    "draw_sample",
]

N_CALIBRATION: Final = 512
"""Training images: half of them set ranges, the other half choose layers."""

N_QUERIES: Final = 1000
N_DATABASE: Final = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class TrialImages:
    """Pixels of a run's images, at the model's size.

    Attributes
    ----------
    calibration
        uint8 [n, H, W, 3]: training images, none of which is a query.
    sample
        What losses are measured on.
    """

    calibration: NDArray[np.uint8]
    sample: Sample


def draw_from_split(images: ImageSet, split: Split, manifest: Manifest) -> TrialImages:
    """Images of a run with queries and a database: up to `N_QUERIES` by `N_DATABASE` images.

    Labels go along if every one of these images has one.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    """
    trained = np.setdiff1d(split.training, split.queries)
    calibration, _ = _load(images, _some(trained, N_CALIBRATION), manifest)
    sample = draw_sample(images, split, manifest, n_queries=N_QUERIES, n_database=N_DATABASE)
    return TrialImages(calibration, sample)


def draw_sample(
    images: ImageSet, split: Split, manifest: Manifest, *, n_queries: int, n_database: int
) -> Sample:
    """Queries and database images of a split, up to so many of either, evenly spaced.

    Labels go along if every one of these images has one.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    """
    return _sample(images, split.queries, split.database, manifest, n_queries, n_database)


def draw_apart(images: ImageSet, manifest: Manifest, *, n_queries: int, n_database: int) -> Sample:
    """The same of images without a split: queries are a fifth of them at most, evenly spaced.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    ConfigError
        If there are fewer than two of them.
    """
    if len(images) < 2:
        raise ConfigError(
            f"expected 2 or more images to compare on, found {len(images)} in {images.name}"
        )
    queries = spread_rows(len(images), min(n_queries, max(1, len(images) // 5)))
    others = np.setdiff1d(np.arange(len(images)), queries)
    return _sample(images, queries, others, manifest, n_queries, n_database)


def draw_from_training(training: ImageSet, manifest: Manifest) -> TrialImages:
    """Images of a run that has training images alone: a part of them stands for the queries.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    ConfigError
        If there are fewer than three of them.
    """
    if len(training) < 3:
        raise ConfigError(
            f"expected 3 or more training images to calibrate with and to compare on, found "
            f"{len(training)}"
        )
    third = np.arange(len(training)) % 3
    parts = [
        _load(training, _some(np.flatnonzero(third == part), wanted), manifest)[0]
        for part, wanted in enumerate((N_CALIBRATION, N_QUERIES, N_DATABASE))
    ]
    return TrialImages(parts[0], Sample(parts[1], parts[2]))


def _sample(
    images: ImageSet,
    query_rows: NDArray[np.int64],
    database_rows: NDArray[np.int64],
    manifest: Manifest,
    n_queries: int,
    n_database: int,
) -> Sample:
    queries, query_labels = _load(images, _some(query_rows, n_queries), manifest)
    database, database_labels = _load(images, _some(database_rows, n_database), manifest)
    if not (_all_known(query_labels) and _all_known(database_labels)):
        query_labels = database_labels = None
    return Sample(queries, database, query_labels, database_labels)


def _some(rows: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    return rows[spread_rows(len(rows), wanted)]


def _load(
    images: ImageSet, rows: NDArray[np.int64], manifest: Manifest
) -> tuple[NDArray[np.uint8], NDArray[Any] | None]:
    """Pixels and labels of the rows that can be used."""
    loaded = load_pixels(images.subset(rows), manifest.size, manifest.resize)
    labels = None if images.labels is None else images.labels[rows[loaded.rows]]
    return loaded.pixels, labels


def _all_known(labels: NDArray[Any] | None) -> bool:
    if labels is None:
        return False
    return bool((labels >= 0).all() if labels.ndim == 1 else labels.any(axis=1).all())
