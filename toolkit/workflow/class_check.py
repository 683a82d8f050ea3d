"""Whether the classes of images are visible in the images, by frozen features of a sample."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import NO_ROWS
from hashkit.errors import HashkitError
from hashkit.features.computing import FeatureStore
from hashkit.features.nearest_mean import Separation, separation
from hashkit.files.cache import cache_folder
from hashkit.threads import available_cpus
from hashkit.workflow.feature_settings import configured
from hashkit.workflow.reporter import SILENT, Reporter

__all__ = ["seen_classes"]

_N_IMAGES: Final = 240
_N_CLASSES: Final = 40


def seen_classes(
    images: ImageSet, training: NDArray[np.int64], reporter: Reporter
) -> Separation | None:
    """How well the features of recipe ``unlabelled`` tell classes apart; takes some seconds.

    The features are kept in the cache folder, so that a second call reads them.

    Parameters
    ----------
    images
        Image files with one label per image.
    training
        Rows of the images that may be looked at.

    Returns
    -------
    Separation or None
        None if the weights or onnx are not installed, or too few images can be used.
    """
    sample = _sample(images, training)
    try:
        _, embedder = configured({"recipe": "unlabelled"}, None, "cpu", SILENT)
        for place in (_cache_of, _temporary):
            with contextlib.suppress(OSError), place(sample) as folder:
                return _separation(FeatureStore(folder, sample, embedder), sample, reporter)
    except HashkitError:  # weights are optional, and the training reports unusable images
        pass
    return None


def _sample(images: ImageSet, training: NDArray[np.int64]) -> ImageSet:
    """Some images of some classes, up to the same number of each."""
    assert images.labels is not None  # noqa: S101 - by the caller
    rng = np.random.default_rng(0)
    labels = images.labels[training]
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    chosen = rng.permutation(classes[counts > 1])[:_N_CLASSES]
    n_each = _N_IMAGES // max(1, len(chosen))
    rows = [rng.permutation(training[labels == label])[:n_each] for label in chosen]
    return images.subset(np.sort(np.concatenate([*rows, NO_ROWS])))


@contextlib.contextmanager
def _cache_of(sample: ImageSet) -> Iterator[Path]:
    """A folder in the cache, one for each folder of images; only the user can read it."""
    digest = hashlib.blake2b(os.fsencode(str(sample.root)), digest_size=16).hexdigest()
    folder = cache_folder() / "classes" / digest
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield folder


@contextlib.contextmanager
def _temporary(_: ImageSet) -> Iterator[Path]:
    """A temporary folder, for when the cache cannot be written."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _separation(store: FeatureStore, sample: ImageSet, reporter: Reporter) -> Separation | None:
    n_workers = available_cpus()
    with reporter.progress("comparing classes", len(sample), "images", start=store.n_done) as bar:
        store.compute("cpu", n_workers=n_workers, progress=bar.update)
    found = store.read(n_workers)
    assert sample.labels is not None  # noqa: S101 - by `_sample`
    return separation(found.features, sample.labels[found.rows])
