"""Choose the images of a run for calibrating and comparing its models."""

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
"""Number of training images: half of them set ranges, the other half choose layers."""

N_QUERIES: Final = 1000
N_DATABASE: Final = 5000


@dataclasses.dataclass(frozen=True, eq=False)
class TrialImages:
    """Pixels of a run's images, at the model's input size.

    Attributes
    ----------
    calibration
        uint8 [n, H, W, 3]: training images, none of which is a query.
    sample
        Images for the comparison.
    """

    calibration: NDArray[np.uint8]
    sample: Sample


def draw_from_split(images: ImageSet, split: Split, manifest: Manifest) -> TrialImages:
    """Images of a run with queries and a database: at most `N_QUERIES` and `N_DATABASE` images.

    Labels are included if all of these images have one.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    """
    trained = np.setdiff1d(split.training, split.queries)
    calibration, _ = _load(images, _evenly_spaced(trained, N_CALIBRATION), manifest)
    sample = draw_sample(images, split, manifest, n_queries=N_QUERIES, n_database=N_DATABASE)
    return TrialImages(calibration, sample)


def draw_sample(
    images: ImageSet, split: Split, manifest: Manifest, *, n_queries: int, n_database: int
) -> Sample:
    """Up to ``n_queries`` queries and ``n_database`` database images of a split, evenly spaced.

    Labels are included if all of these images have one.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    """
    return _sample(images, split.queries, split.database, manifest, n_queries, n_database)


def draw_apart(images: ImageSet, manifest: Manifest, *, n_queries: int, n_database: int) -> Sample:
    """A sample of images without a split; at most a fifth of them are queries, evenly spaced.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    ConfigError
        If there are fewer than two images.
    """
    if len(images) < 2:
        raise ConfigError(
            f"expected at least 2 images for the comparison, found {len(images)} in {images.name}"
        )
    queries = spread_rows(len(images), min(n_queries, max(1, len(images) // 5)))
    others = np.setdiff1d(np.arange(len(images)), queries)
    return _sample(images, queries, others, manifest, n_queries, n_database)


def draw_from_training(training: ImageSet, manifest: Manifest) -> TrialImages:
    """Images of a run that has only training images: parts of them are queries and database.

    Raises
    ------
    DatasetError
        If none of the images can be used.
    ConfigError
        If there are fewer than three images.
    """
    if len(training) < 3:
        raise ConfigError(
            "expected at least 3 training images for calibration and comparison, found "
            f"{len(training)}"
        )
    third = np.arange(len(training)) % 3
    parts = [
        _load(training, _evenly_spaced(np.flatnonzero(third == part), wanted), manifest)[0]
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
    queries, query_labels = _load(images, _evenly_spaced(query_rows, n_queries), manifest)
    database, database_labels = _load(images, _evenly_spaced(database_rows, n_database), manifest)
    if not (_all_known(query_labels) and _all_known(database_labels)):
        query_labels = database_labels = None
    return Sample(queries, database, query_labels, database_labels)


def _evenly_spaced(rows: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
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
