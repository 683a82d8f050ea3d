"""Decodes images ahead of use: by threads, in the requested order, in bounded memory."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ImageError, ImageFault
from hashkit.files.writing import write_whole
from hashkit.imaging.content import read_image_file
from hashkit.preprocess import ImageSource

__all__ = ["DecodedBatch", "Decoder", "Fault", "decode_batches", "write_fault_report"]

_BATCHES_AHEAD: Final = 2
_IMAGES_PER_TASK: Final = 16
"""Enough to make the cost of a task negligible; fewer where some threads would be idle."""
_IMAGES_AHEAD_PER_WORKER: Final = 2
"""Keeps every thread busy until the next batch is requested, however small the batches are."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """An image that cannot be used.

    Attributes
    ----------
    row, name
        The image's row in its set, and its name.
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
        """One line of a fault report, without the line break."""
        return json.dumps(dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True, eq=False)
class DecodedBatch:
    """Decoded images of a set.

    Attributes
    ----------
    start, stop
        Positions of the batch in the requested order, ``stop`` excluded. `decode_batches` counts
        from the set's first row, so there they are rows.
    pixels
        uint8 [n, height, width, 3], the images that can be used.
    rows
        int64 [n], the rows of those images.
    faults
        The other images, in order.
    files
        Size, time and digest of the images' files, if they were asked for; None for images in
        memory.
    """

    start: int
    stop: int
    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    faults: tuple[Fault, ...]
    files: ImageFiles | None = None

    def before(self, row: int) -> DecodedBatch:
        """The part of a batch of consecutive rows that comes before ``row``."""
        keep = self.rows < row
        faults = tuple(fault for fault in self.faults if fault.row < row)
        files = None if self.files is None else self.files[keep]
        return DecodedBatch(self.start, row, self.pixels[keep], self.rows[keep], faults, files)


class Decoder:
    """Threads that decode the images of a set.

    Parameters
    ----------
    image_set
        The images.
    prepare
        Returns the pixels of an image, uint8 [height, width, 3]. It is called from the threads;
        Pillow releases the interpreter lock while it decodes and resizes.
    size
        (height, width) in pixels.
    n_workers
        Threads.
    with_files
        Whether to record size, time and digest of the images' files, while they are in memory.
    """

    def __init__(
        self,
        image_set: ImageSet,
        prepare: Callable[[ImageSource], NDArray[np.uint8]],
        size: tuple[int, int],
        n_workers: int,
        *,
        with_files: bool = False,
    ) -> None:
        self._image_set = image_set
        self._prepare = prepare
        self._size = size
        self._n_workers = n_workers
        self._with_files = with_files and image_set.root is not None
        self._pool = ThreadPoolExecutor(n_workers, thread_name_prefix="hashkit-decode")

    def batches(
        self, rows_of_batches: Iterable[NDArray[np.int64]], *, start: int = 0
    ) -> Generator[DecodedBatch, None, None]:
        """Decode batches of rows, each ahead of its use.

        Two batches are decoded ahead of the one delivered, or more if they are too small to keep
        every thread busy. Closing the generator cancels the images that no thread has begun.

        Parameters
        ----------
        rows_of_batches
            Rows of each batch, int64 [batch size]; taken from the iterable as decoding advances.
        start
            Position of the first image, for `DecodedBatch.start` and `DecodedBatch.stop`.

        Raises
        ------
        Exception
            Errors of ``prepare`` other than `ImageError`, which becomes a `Fault`.
        """
        pending: deque[_Pending] = deque()
        try:
            for rows in rows_of_batches:
                pending.append(self._submit(rows, start))
                start += len(rows)
                n_images_ahead = start - pending[0].stop
                if (
                    len(pending) > _BATCHES_AHEAD
                    and n_images_ahead >= _IMAGES_AHEAD_PER_WORKER * self._n_workers
                ):
                    yield _next_of(pending)
            while pending:
                yield _next_of(pending)
        finally:
            for batch in pending:
                batch.cancel()

    def close(self) -> None:
        """Cancel the images that no thread has begun, and wait for the threads to end."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, rows: NDArray[np.int64], start: int) -> _Pending:
        pixels = np.empty((len(rows), *self._size, 3), np.uint8)
        files = ImageFiles.unknown(len(rows)) if self._with_files else None
        n_per_task = max(1, min(len(rows) // self._n_workers, _IMAGES_PER_TASK))
        parts = [slice(first, first + n_per_task) for first in range(0, len(rows), n_per_task)]
        tasks = [
            self._pool.submit(
                self._fill, pixels[part], rows[part], None if files is None else files[part]
            )
            for part in parts
        ]
        return _Pending(start, pixels, rows, files, tasks)

    def _fill(
        self, pixels: NDArray[np.uint8], rows: NDArray[np.int64], files: ImageFiles | None
    ) -> list[Fault]:
        faults = []
        for place, (image, row) in enumerate(zip(pixels, rows.tolist(), strict=True)):
            try:
                source: ImageSource = self._image_set.source(row)
                if files is not None and isinstance(source, Path):
                    source = read_image_file(source)
                    files.set(place, len(source.data), source.mtime_ns, source.digest())
                image[:] = self._prepare(source)
            except ImageError as error:
                faults.append(Fault(row, self._image_set.names[row], error.reason, str(error)))
        return faults


def decode_batches(
    image_set: ImageSet,
    prepare: Callable[[ImageSource], NDArray[np.uint8]],
    size: tuple[int, int],
    *,
    start: int,
    batch_size: int,
    n_workers: int,
    with_files: bool = False,
) -> Generator[DecodedBatch, None, None]:
    """Decode the images of a set in order, ahead of their use; see `Decoder`.

    Close the generator if you do not exhaust it, so that its threads end.

    Parameters
    ----------
    start
        First row to decode.
    batch_size
        Images per batch; the last batch may be smaller.
    """
    n_images = len(image_set)
    rows_of_batches = (
        np.arange(first, min(first + batch_size, n_images))
        for first in range(start, n_images, batch_size)
    )
    with Decoder(image_set, prepare, size, n_workers, with_files=with_files) as decoder:
        yield from decoder.batches(rows_of_batches, start=start)


def write_fault_report(faults: Iterable[Fault], path: Path) -> None:
    """Write faults as JSON lines, whole or not: ``row``, ``name``, ``reason``, ``message``."""
    write_whole(path, "".join(fault.to_json() + "\n" for fault in faults).encode())


@dataclasses.dataclass(frozen=True, eq=False)
class _Pending:
    """A batch that is being decoded."""

    start: int
    pixels: NDArray[np.uint8]
    rows: NDArray[np.int64]
    files: ImageFiles | None
    tasks: list[Future[list[Fault]]]

    @property
    def stop(self) -> int:
        return self.start + len(self.rows)

    def wait(self) -> DecodedBatch:
        faults = tuple(fault for task in self.tasks for fault in task.result())
        if not faults:
            return DecodedBatch(self.start, self.stop, self.pixels, self.rows, (), self.files)
        usable = ~np.isin(self.rows, [fault.row for fault in faults])
        files = None if self.files is None else self.files[usable]
        return DecodedBatch(
            self.start, self.stop, self.pixels[usable], self.rows[usable], faults, files
        )

    def cancel(self) -> None:
        for task in self.tasks:
            task.cancel()


def _next_of(pending: deque[_Pending]) -> DecodedBatch:
    batch = pending[0].wait()  # if this raises, the batch is still pending and is cancelled
    pending.popleft()
    return batch
