"""Preparation of training data from an image set."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.names import hash_names
from hashkit.datasets.decoding import Fault
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.screening import load_pixels, screen
from hashkit.datasets.split import holdout
from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.threads import check_threads
from hashkit.training.data import (
    MEMORY_LIMIT_BYTES,
    FeatureRows,
    FeatureViews,
    MemoryPixels,
    Pixels,
    StreamedPixels,
    TrainingData,
)
from hashkit.training.losses import check_batch_size, find_loss

__all__ = [
    "check_classes",
    "learns_from_labels",
    "no_labels",
    "prepare_features",
    "prepare_labelled",
    "prepare_triplets",
    "prepare_unlabelled",
    "with_unlabelled",
]

Progress = Callable[[int, int], None]


def learns_from_labels(config: TrainConfig) -> bool:
    """Whether the loss of the settings needs labels, or a triplet list instead."""
    return find_loss(config.loss).learns_from == "labels"


def prepare_labelled(
    images: ImageSet,
    config: TrainConfig,
    *,
    protocol: str = "",
    n_workers: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[TrainingData, list[Fault]]:
    """Training data of labelled images.

    Parameters
    ----------
    images
        The training images.
    protocol
        Name of the protocol that selected the images, for the manifest.
    n_workers
        Decoding threads; None for one per CPU core.
    strict
        Raise an error for an unusable image instead of leaving it out.
    progress
        Called with the number of images decoded and the total.

    Returns
    -------
    tuple
        The data, and the faults of images that were left out.

    Raises
    ------
    ConfigError
        If the images have no labels, or no usable image has one.
    DatasetError
        If ``strict`` and an image is unusable, or if no image is usable.
    """
    if images.labels is None:
        raise no_labels(images)
    check_batch_size(config.loss, config.batch_size)  # before all images are decoded
    check_classes(images)
    pixels, rows, faults = _decode(images, config, n_workers, strict, progress)
    return _labelled(images, rows, pixels, config, protocol), faults


def prepare_features(
    images: ImageSet,
    rows: NDArray[np.int64],
    views: NDArray[np.float32],
    config: TrainConfig,
    *,
    protocol: str = "",
) -> TrainingData:
    """Training data of images whose features an embedder has computed.

    Parameters
    ----------
    images
        The training images.
    rows
        int64 [n], sorted: those that can be used.
    views
        float32 [n, n_views, n_features], the features of these rows.
    protocol
        Name of the protocol that selected the images, for the manifest.

    Raises
    ------
    ConfigError
        If the loss needs labels, and the images have none, or too few classes.
    """
    pixels = FeatureViews(views) if views.shape[1] > 1 else FeatureRows(views[:, 0])
    if learns_from_labels(config):
        return _labelled(images, rows, pixels, config, protocol)
    return _unlabelled(images, rows, pixels, protocol)


def _labelled(
    images: ImageSet,
    rows: NDArray[np.int64],
    pixels: Pixels,
    config: TrainConfig,
    protocol: str,
) -> TrainingData:
    if images.labels is None:
        raise no_labels(images)
    labels: NDArray[Any] = images.labels[rows]
    has_label = labels >= 0 if labels.ndim == 1 else labels.any(axis=1)
    usable = np.flatnonzero(has_label)
    if not len(usable):
        raise ConfigError(f"{images.name}: no usable image has a label")
    fit, held = _hold_out(labels, usable, config)
    return TrainingData(
        pixels=pixels,
        labels=labels,
        triplets=None,
        fit_items=fit,
        held_items=held,
        names_sha256=hash_names([images.names[row] for row in rows], labels),
        dataset=images.name,
        protocol=protocol,
        class_names=images.class_names,
    )


def no_labels(images: ImageSet) -> ConfigError:
    """The error of a loss that needs labels, for images without any."""
    return ConfigError(
        f"{images.name} has no labels to learn from: sort the images into one folder per "
        "class, give a list of triplets, `triplets=...`, or learn without labels, "
        '`recipe="unlabelled"`'
    )


def check_classes(images: ImageSet) -> None:
    """Raise ConfigError if all labels are of one class, from which no loss can learn."""
    labels = images.labels
    if labels is None or labels.ndim != 1:
        return
    n_classes = len(np.unique(labels[labels >= 0]))
    if n_classes == 1:
        raise ConfigError(
            f"{images.name}: learning from labels needs training images of 2 classes or more, "
            'found 1 class: add a class, or use a loss that needs no labels, `loss="cibhash"`'
        )


def prepare_unlabelled(
    images: ImageSet,
    config: TrainConfig,
    *,
    protocol: str = "",
    n_workers: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[TrainingData, list[Fault]]:
    """Training data of images without using their labels.

    No images are held out, because they could not be scored without labels. Parameters, results
    and errors are those of `prepare_labelled`.
    """
    pixels, rows, faults = _decode(images, config, n_workers, strict, progress)
    return _unlabelled(images, rows, pixels, protocol), faults


def with_unlabelled(
    data: TrainingData,
    images: ImageSet,
    config: TrainConfig,
    *,
    n_workers: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[TrainingData, list[Fault]]:
    """Labelled training data with further images, whose labels are not used if they have any.

    Parameters, results and errors are those of `prepare_labelled`.
    """
    pixels, rows, faults = _decode(images, config, n_workers, strict, progress)
    names = hash_names([images.names[row] for row in rows], None)
    both = hashlib.sha256(f"{data.names_sha256} {names}".encode()).hexdigest()
    return dataclasses.replace(data, unlabelled=pixels, names_sha256=both), faults


def _unlabelled(
    images: ImageSet, rows: NDArray[np.int64], pixels: Pixels, protocol: str
) -> TrainingData:
    return TrainingData(
        pixels=pixels,
        labels=None,
        triplets=None,
        fit_items=np.arange(len(rows)),
        held_items=np.arange(0),
        names_sha256=hash_names([images.names[row] for row in rows], None),
        dataset=images.name,
        protocol=protocol,
    )


def prepare_triplets(
    images: ImageSet,
    triplets: NDArray[np.int64],
    config: TrainConfig,
    *,
    n_workers: int | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> tuple[TrainingData, list[Fault]]:
    """Training data of a triplet list; triplets with an unusable image are left out.

    Parameters
    ----------
    triplets
        int64 [n_triplets, 3], rows of ``images``: query, similar, dissimilar.

    The other parameters, results and errors are those of `prepare_labelled`.
    """
    pixels, rows, faults = _decode(images, config, n_workers, strict, progress)
    usable = triplets[np.isin(triplets, rows).all(axis=1)]
    if not len(usable):
        raise ConfigError(f"{images.name}: no triplet is left with three usable images")
    fit, held = _hold_out(None, np.arange(len(usable)), config)
    data = TrainingData(
        pixels=pixels,
        labels=None,
        triplets=np.searchsorted(rows, usable),
        fit_items=fit,
        held_items=held,
        names_sha256=hash_names([images.names[row] for row in rows], usable),
        dataset=images.name,
    )
    return data, faults


def _decode(
    images: ImageSet,
    config: TrainConfig,
    n_workers: int | None,
    strict: bool,
    progress: Progress | None,
) -> tuple[Pixels, NDArray[np.int64], list[Fault]]:
    """Usable images, their rows (sorted), and the faults of the others."""
    size = (config.height, config.width)
    n_bytes = len(images) * config.height * config.width * 3
    if n_bytes <= MEMORY_LIMIT_BYTES:
        loaded = load_pixels(
            images, size, config.resize, n_workers=n_workers, progress=progress, strict=strict
        )
        return MemoryPixels(loaded.pixels), loaded.rows, loaded.faults
    screening = screen(
        images, size, config.resize, n_workers=n_workers, progress=progress, strict=strict
    )
    good = images.subset(screening.good_rows)
    streamed = StreamedPixels(good, size, config.resize, check_threads(n_workers, "n_workers"))
    return streamed, screening.good_rows, screening.faults


def _hold_out(
    labels: NDArray[Any] | None, items: NDArray[np.int64], config: TrainConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not config.holdout:
        return items, items[:0]
    return holdout(labels, items, config.holdout, config.seed)
