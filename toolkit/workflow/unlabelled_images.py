"""The images that a training sees without their labels."""

from __future__ import annotations

import numpy as np

from hashkit.datasets.disjoint import copies_of
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.sets import open_image_set
from hashkit.datasets.split import Rows, Split
from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.workflow.reporter import Reporter, plural

__all__ = ["WITH_UNLABELLED", "check_used", "protocol_text", "unlabelled_images"]

WITH_UNLABELLED = " with unlabelled images"
"""Added to a protocol of labelled images if the model also learned from unlabelled ones."""

_WAYS = (
    "name a folder of them, `unlabelled=...`, a protocol that has some, such as "
    '`protocol="per-class-unlabelled"`, or set `unlabelled_ratio=0`'
)


def check_used(spec: DataSpec, config: TrainConfig) -> None:
    """Raise ConfigError if a folder of unlabelled images is named, but not learned from."""
    if spec.unlabelled is not None and not config.unlabelled_ratio:
        raise ConfigError(
            f"`unlabelled` needs `unlabelled_ratio` above 0, found 0 with the recipe "
            f'{config.recipe}: set it, or use `recipe="few-labels"`'
        )


def protocol_text(split: Split, config: TrainConfig) -> str:
    """Protocol for the model's metadata; says if images outside the protocol were used too."""
    is_beyond = config.unlabelled_ratio and not len(split.unlabelled)
    return f"{split.protocol}{WITH_UNLABELLED}" if is_beyond else split.protocol


def unlabelled_images(
    spec: DataSpec, images: ImageSet, split: Split, config: TrainConfig, reporter: Reporter
) -> ImageSet | None:
    """Images that are learned from without labels; None if the settings use none.

    They are those of a folder or list, if one is named, otherwise those of the protocol and the
    training images that have no label. Copies of queries and of labelled training images are left
    out, with a note.

    Raises
    ------
    ConfigError
        If the settings need some, and there are none.
    DatasetError
        If the folder or list cannot be opened.
    """
    check_used(spec, config)
    if not config.unlabelled_ratio:
        if len(split.unlabelled):
            n_images = plural(len(split.unlabelled), "unlabelled image")
            reporter.note(
                f"the {n_images} of {split.protocol} are not used; they are with "
                '`recipe="few-labels"`'
            )
        return None
    labelled, without = _by_label(images, split.training)
    if spec.unlabelled is not None:
        if len(split.unlabelled):
            raise ConfigError(
                f"`unlabelled` does not go with the protocol {split.protocol}, which has "
                "unlabelled images of its own: leave it out, or choose another protocol"
            )
        found = open_image_set(spec.unlabelled)
        rows = np.arange(len(found))
    else:
        found, rows = images, np.union1d(split.unlabelled, without)
    if not len(rows):
        raise ConfigError(
            f"the recipe {config.recipe} learns from images without labels too, found none: {_WAYS}"
        )
    copies = copies_of(found, rows, [(images, split.queries), (images, labelled)])
    rest = np.setdiff1d(rows, copies)
    if len(copies):
        reporter.note(
            f"{plural(len(copies), 'unlabelled image')} left out, for copies of queries or of "
            "labelled images"
        )
    if not len(rest):
        raise ConfigError(
            f"{found.name}: expected unlabelled images besides the labelled ones and the queries, "
            f"found copies of these alone: {_WAYS}"
        )
    reporter.note(f"{found.name}: {plural(len(rest), 'training image')} without labels")
    return found.subset(rest)


def _by_label(images: ImageSet, rows: Rows) -> tuple[Rows, Rows]:
    """Rows of images with a label, and of those without."""
    labels = images.labels
    if labels is None:
        return rows[:0], rows
    has_label = labels[rows] >= 0 if labels.ndim == 1 else labels[rows].any(axis=1)
    return rows[has_label], rows[~has_label]
