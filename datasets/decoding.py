"""Images read ahead: decoded and resized by threads, delivered in order, in bounded memory."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.screening import Fault
from hashkit.errors import ImageError
from hashkit.preprocess import ImageSource

__all__ = ["Batch", "decode_batches"]

_BATCHES_AHEAD: Final = 2
_IMAGES_PER_TASK: Final = 8
"""Enough to hide what a task costs; fewer where they would not occupy every thread."""
_TASKS_PER_WORKER: Final = 2
"""What is read ahead, so that no thread waits for the next batch to be asked for."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Consecutive images of a set.

    Attributes
    ----------
    start, stop
        The images' places in the set, ``stop`` not included.
    pixels
        uint8 [n, height, width, 3], of those that can be used.
    rows
        int64 [n], the places of those.
    faults
        The others, in order.
    """

    start: int
    stop: int
    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    faults: tuple[Fault, ...]

    def before(self, row: int) -> Batch:
        """The part of the batch that lies before ``row`` of the set."""
        keep = self.rows < row
        faults = tuple(fault for fault in self.faults if fault.row < row)
        return Batch(self.start, row, self.pixels[keep], self.rows[keep], faults)


def decode_batches(
    image_set: ImageSet,
    prepare: Callable[[ImageSource], NDArray[np.uint8]],
    size: tuple[int, int],
    *,
    start: int,
    batch_size: int,
    n_workers: int,
) -> Generator[Batch, None, None]:
    """Decode the images of a set ahead of their use, in order.

    Two batches are being filled beside the one delivered; more if they are so small that some
    threads would have nothing to do.

    Parameters
    ----------
    image_set
        The images.
    prepare
        Pixels of an image, uint8 [height, width, 3]; called from the worker threads, where
        Pillow leaves the interpreter to others while it decodes and resizes.
    size
        (height, width) in pixels.
    start
        First row to decode.
    batch_size
        Images a batch; the last may have fewer.
    n_workers
        Threads.
    """
    n_ahead = max(_BATCHES_AHEAD, -(-_TASKS_PER_WORKER * n_workers // batch_size))
    per_task = n_ahead * batch_size // (_TASKS_PER_WORKER * n_workers)
    per_task = max(1, min(per_task, _IMAGES_PER_TASK))
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="hashkit-decode")

    def fill(pixels: NDArray[np.uint8], first_row: int) -> list[Fault]:
        faults = []
        for row, image in enumerate(pixels, first_row):
            try:
                image[:] = prepare(image_set.source(row))
            except ImageError as error:
                faults.append(Fault(row, image_set.names[row], error.reason, str(error)))
        return faults

    def submit(first_row: int) -> _Pending:
        n_images = min(batch_size, len(image_set) - first_row)
        pixels = np.empty((n_images, *size, 3), np.uint8)
        tasks = [
            pool.submit(fill, pixels[offset : offset + per_task], first_row + offset)
            for offset in range(0, n_images, per_task)
        ]
        return _Pending(first_row, pixels, tasks)

    try:
        pending: deque[_Pending] = deque()
        for first_row in range(start, len(image_set), batch_size):
            pending.append(submit(first_row))
            if len(pending) > n_ahead:
                yield pending.popleft().wait()
        while pending:
            yield pending.popleft().wait()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclasses.dataclass(frozen=True, eq=False)
class _Pending:
    """A batch that is being decoded."""

    start: int
    pixels: NDArray[np.uint8]
    tasks: list[Future[list[Fault]]]

    def wait(self) -> Batch:
        faults = tuple(fault for task in self.tasks for fault in task.result())
        stop = self.start + len(self.pixels)
        rows = np.arange(self.start, stop)
        if not faults:
            return Batch(self.start, stop, self.pixels, rows, ())
        rows = np.delete(rows, [fault.row - self.start for fault in faults])
        return Batch(self.start, stop, self.pixels[rows - self.start], rows, faults)
