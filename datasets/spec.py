"""Opens the image set of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hashkit.datasets.download import DownloadProgress
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.lists import open_list_split
from hashkit.datasets.protocols import make_split
from hashkit.datasets.sets import IMAGE_SETS, open_image_set
from hashkit.datasets.split import Split
from hashkit.inputs.paths import with_home
from hashkit.runs.data_spec import DEFAULT_PROTOCOL, DataSpec

__all__ = ["absolute_spec", "open_spec", "with_absolute_paths"]


def open_spec(
    spec: DataSpec, *, download: bool = False, progress: DownloadProgress | None = None
) -> tuple[ImageSet, Split]:
    """Open an image set and draw its split.

    Raises
    ------
    DatasetError
        If the set cannot be opened, or does not allow the split.
    """
    root = None if spec.root is None else Path(spec.root)
    if spec.query_list is not None:
        training = None if spec.training_list is None else Path(spec.training_list)
        return open_list_split(
            queries=Path(spec.query_list),
            database=Path(spec.data),
            training=training,
            root=root,
        )
    images = open_image_set(spec.data, root=root, download=download, progress=progress)
    has_classes = images.labels is not None and not images.is_multi_label
    protocol = spec.protocol or (DEFAULT_PROTOCOL if has_classes else "random")
    return images, make_split(images, protocol, seed=spec.seed, options=spec.options)


def with_absolute_paths(spec: DataSpec) -> DataSpec:
    """The spec with absolute paths, so that it can be opened from any folder."""
    return dataclasses.replace(
        spec,
        data=absolute_spec(spec.data),
        root=_absolute(spec.root),
        query_list=_absolute(spec.query_list),
        training_list=_absolute(spec.training_list),
        unlabelled=_absolute(spec.unlabelled),
    )


def absolute_spec(data: str) -> str:
    """The name of an image set unchanged, or a path made absolute."""
    path = with_home(data)
    return data if data in IMAGE_SETS or not path.exists() else str(path.absolute())


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(with_home(path).absolute())
