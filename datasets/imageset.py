"""`ImageSet`, the common form of all image sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import check_names
from hashkit.errors import DatasetError
from hashkit.imaging.content import FileContent
from hashkit.inputs.masks import unmasked

__all__ = ["Contents", "ImageSet", "spread_rows"]


class Contents(Protocol):
    """Images in containers: files that hold many images each, such as tars."""

    @property
    def is_sequential(self) -> bool:
        """Whether images are read quickly only in the order of the rows."""
        ...

    def read(self, row: int) -> FileContent:
        """The file of image ``row``, read from its container; threads may call it at once.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        ...

    def subset(self, rows: NDArray[np.integer[Any]]) -> Contents:
        """The images of ``rows``, int [m], in that order."""
        ...


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A fixed, ordered collection of images with names and, if known, labels.

    Attributes
    ----------
    name
        Name of the set: ``digits``, ``cifar10``, or the name of the folder or list.
    names
        One unique name per image. For files, the path relative to ``root`` with forward slashes;
        for images in memory, ``<set>/<number>``.
    pixels
        uint8 [n, H, W, 3] for sets in memory; otherwise None.
    root
        The folder that file names are relative to; None for other sets.
    contents
        Images in containers; otherwise None.
    labels
        int64 [n] (one label per image, from 0), or uint8 [n, n_classes] (multi-hot), or None.
    class_names
        Names of the classes by label; empty without labels.
    is_test
        bool [n], the images of the official test part; None if there is no official split.
    """

    name: str
    names: Sequence[str]
    pixels: NDArray[np.uint8] | None = None
    root: Path | None = None
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    is_test: NDArray[np.bool_] | None = None
    contents: Contents | None = None

    def __post_init__(self) -> None:
        check_names(self.names, "names", DatasetError)
        check_names(self.class_names, "class_names", DatasetError)
        if sum(one is not None for one in (self.pixels, self.root, self.contents)) != 1:
            raise DatasetError(
                f"{self.name}: images must be either in memory, in a folder, or in containers"
            )
        for field in ("pixels", "labels", "is_test"):
            values = unmasked(getattr(self, field), field, DatasetError)
            object.__setattr__(self, field, values)
            if values is not None and len(values) != len(self.names):
                raise DatasetError(
                    f"{self.name}: expected {len(self.names)} {field}, found {len(values)}"
                )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have several labels."""
        return self.labels is not None and self.labels.ndim == 2

    def source(self, row: int) -> Path | NDArray[np.uint8] | FileContent:
        """Image ``row`` as `hashkit.preprocess.load` takes it.

        A path, uint8 [H, W, 3], or a file that was read from its container.

        Raises
        ------
        ImageError
            If it cannot be read from its container.
        """
        if self.contents is not None:
            return self.contents.read(row)
        if self.pixels is not None:
            image: NDArray[np.uint8] = self.pixels[row]
            return image
        assert self.root is not None  # noqa: S101 - by __post_init__
        return self.root / self.names[row]

    def subset(self, rows: NDArray[np.integer[Any]]) -> ImageSet:
        """The images of ``rows``, int [m], in that order."""
        return dataclasses.replace(
            self,
            names=[self.names[row] for row in rows],
            pixels=None if self.pixels is None else self.pixels[rows],
            labels=None if self.labels is None else self.labels[rows],
            is_test=None if self.is_test is None else self.is_test[rows],
            contents=None if self.contents is None else self.contents.subset(rows),
        )


def spread_rows(n_rows: int, n_wanted: int) -> NDArray[np.int64]:
    """Up to ``n_wanted`` evenly spaced rows, first and last included: int64, sorted."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_wanted)).round().astype(np.int64))
