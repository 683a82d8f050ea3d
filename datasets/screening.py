"""Finds images that cannot be used, and loads the others."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.decoding import Fault, decode_batches
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError
from hashkit.preprocess import load
from hashkit.threads import check_threads

__all__ = [
    "LoadedPixels",
    "Screening",
    "load_pixels",
    "screen",
]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of images done and the total number."""

_BATCH_IMAGES: Final = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Screening:
    """Rows of the usable images, int64 sorted, and the faults of the others."""

    good_rows: NDArray[np.int64]
    faults: list[Fault]


class LoadedPixels(NamedTuple):
    """Images of a set, decoded and resized.

    Attributes
    ----------
    pixels
        uint8 [m, height, width, 3], RGB; may be the set's own array, so do not modify it.
    rows
        int64 [m], sorted: rows of these images in the set.
    faults
        The other images, and why they cannot be used.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    faults: list[Fault]


def screen(
    image_set: ImageSet,
    size: tuple[int, int],
    resize: str = "crop-bilinear",
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> Screening:
    """Decode every image of a set and list those that cannot be used.

    Parameters
    ----------
    size, resize
        (height, width) in pixels and resize rule; see `hashkit.preprocess.load`.
    n_workers
        Threads; by default one per CPU available to this process.
    progress
        Called after each batch.
    strict
        Whether an image that cannot be used is an error.

    Raises
    ------
    DatasetError
        If no image can be used; with ``strict``, if any image cannot be used.
    """
    return _decode(image_set, size, resize, n_workers, progress, strict)


def load_pixels(
    image_set: ImageSet,
    size: tuple[int, int],
    resize: str = "crop-bilinear",
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> LoadedPixels:
    """Decode a set into memory, without the images that cannot be used.

    Parameters and errors are those of `screen`.
    """
    if image_set.pixels is not None and image_set.pixels.shape[1:] == (*size, 3):
        return LoadedPixels(image_set.pixels, np.arange(len(image_set), dtype=np.int64), [])
    pixels = np.empty((len(image_set), *size, 3), dtype=np.uint8)
    found = _decode(image_set, size, resize, n_workers, progress, strict, pixels)
    return LoadedPixels(pixels[: len(found.good_rows)], found.good_rows, found.faults)


def _decode(
    image_set: ImageSet,
    size: tuple[int, int],
    resize: str,
    n_workers: int | None,
    progress: Progress | None,
    strict: bool,
    pixels: NDArray[np.uint8] | None = None,
) -> Screening:
    """Decode every image; copy the usable ones to the beginning of ``pixels`` if it is given."""
    n_images = len(image_set)
    good_rows = np.empty(n_images, dtype=np.int64)
    n_good = 0
    faults: list[Fault] = []
    batches = decode_batches(
        image_set,
        functools.partial(load, size=size, resize=resize),
        size,
        start=0,
        batch_size=_BATCH_IMAGES,
        n_workers=check_threads(n_workers, "n_workers"),
    )
    # Closed here, not by the garbage collector: a traceback would keep the threads alive.
    with contextlib.closing(batches):
        for batch in batches:
            good = slice(n_good, n_good + len(batch.rows))
            good_rows[good] = batch.rows
            if pixels is not None:
                pixels[good] = batch.pixels
            n_good = good.stop
            faults += batch.faults
            if progress is not None:
                progress(batch.stop, n_images)
    _check_faults(image_set, faults, strict)
    return Screening(good_rows[:n_good], faults)


def _check_faults(image_set: ImageSet, faults: list[Fault], strict: bool) -> None:
    n_images = len(image_set)
    if faults and (strict or len(faults) == n_images):
        raise DatasetError(
            f"{image_set.name}: {len(faults)} of {n_images} images cannot be used, the first: "
            f"{faults[0].message}"
        )
