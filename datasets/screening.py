"""Finds the images of a set that cannot be used, and loads the others."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError, ImageError, ImageFault
from hashkit.preprocess import load
from hashkit.threads import check_threads

__all__ = [
    "Fault",
    "LoadedPixels",
    "Screening",
    "load_pixels",
    "screen",
    "write_fault_report",
]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of images done, and of images in all."""

_CHUNK_IMAGES: Final = 64


@dataclasses.dataclass(frozen=True)
class Fault:
    """An image that cannot be used.

    Attributes
    ----------
    row, name
        Which image of the set it is.
    reason
        As in `hashkit.errors.ImageError`.
    message
        One line for a person.
    """

    row: int
    name: str
    reason: ImageFault
    message: str

    def to_json(self) -> str:
        """One line of a fault report, without its end."""
        return json.dumps(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True, eq=False)
class Screening:
    """Rows of the images that can be used, int64 sorted, and the faults of the others."""

    good_rows: NDArray[np.int64]
    faults: list[Fault]


class LoadedPixels(NamedTuple):
    """Images of a set at one size.

    Attributes
    ----------
    pixels
        uint8 [m, height, width, 3], RGB; it may be the set's own array, so do not write into it.
    rows
        int64 [m], sorted: which images of the set they are.
    faults
        The images that are not among them, and why.
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
        (height, width) in pixels, and the rule, as `hashkit.preprocess.load` takes them.
    n_workers
        Threads; by default the processors that this process may use.
    strict
        Whether one image that cannot be used is an error.

    Raises
    ------
    DatasetError
        If no image can be used; with ``strict``, if any cannot.
    """
    is_good = np.ones(len(image_set), dtype=np.bool_)
    faults: list[Fault] = []
    for outcome in _decode_all(image_set, size, resize, n_workers, progress):
        if isinstance(outcome, Fault):
            is_good[outcome.row] = False
            faults.append(outcome)
    _check_faults(image_set, faults, strict)
    return Screening(np.flatnonzero(is_good), faults)


def load_pixels(
    image_set: ImageSet,
    size: tuple[int, int],
    resize: str = "crop-bilinear",
    *,
    n_workers: int | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> LoadedPixels:
    """Decode a set once into memory, without the images that cannot be used.

    The parameters and errors are those of `screen`.
    """
    if image_set.pixels is not None and image_set.pixels.shape[1:] == (*size, 3):
        return LoadedPixels(image_set.pixels, np.arange(len(image_set), dtype=np.int64), [])
    pixels = np.empty((len(image_set), *size, 3), dtype=np.uint8)
    rows: list[int] = []
    faults: list[Fault] = []
    for outcome in _decode_all(image_set, size, resize, n_workers, progress):
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            row, image = outcome
            pixels[len(rows)] = image
            rows.append(row)
    _check_faults(image_set, faults, strict)
    return LoadedPixels(pixels[: len(rows)], np.array(rows, dtype=np.int64), faults)


def write_fault_report(faults: Iterable[Fault], path: Path) -> None:
    """Write faults as JSON lines: ``row``, ``name``, ``reason``, ``message``."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(fault.to_json() + "\n" for fault in faults)


_Outcome: TypeAlias = tuple[int, NDArray[np.uint8]] | Fault


def _decode_all(
    image_set: ImageSet,
    size: tuple[int, int],
    resize: str,
    n_workers: int | None,
    progress: Progress | None,
) -> Iterator[_Outcome]:
    """Outcome of each image, in order; no more than a few chunks are in memory at a time."""
    n_images = len(image_set)
    n_workers = check_threads(n_workers, "n_workers")
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="hashkit-decode")
    pending: collections.deque[Future[list[_Outcome]]] = collections.deque()
    starts = iter(range(0, n_images, _CHUNK_IMAGES))
    n_done = 0
    try:
        while True:
            while len(pending) < 2 * n_workers and (start := next(starts, None)) is not None:
                rows = range(start, min(start + _CHUNK_IMAGES, n_images))
                pending.append(pool.submit(_decode_chunk, image_set, rows, size, resize))
            if not pending:
                return
            outcomes = pending.popleft().result()
            yield from outcomes
            n_done += len(outcomes)
            if progress is not None:
                progress(n_done, n_images)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_chunk(
    image_set: ImageSet, rows: range, size: tuple[int, int], resize: str
) -> list[_Outcome]:
    outcomes: list[_Outcome] = []
    for row in rows:
        try:
            outcomes.append((row, load(image_set.source(row), size, resize)))
        except ImageError as error:
            outcomes.append(Fault(row, image_set.names[row], error.reason, str(error)))
    return outcomes


def _check_faults(image_set: ImageSet, faults: list[Fault], strict: bool) -> None:
    n_images = len(image_set)
    if faults and (strict or len(faults) == n_images):
        raise DatasetError(
            f"{image_set.name}: {len(faults)} of {n_images} images cannot be used, the first: "
            f"{faults[0].message}"
        )
