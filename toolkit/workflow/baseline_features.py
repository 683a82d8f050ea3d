"""Features that the baselines of a run are fitted on, in blocks.

`ImageFeatures` is the interface of a source of features. There are two: pixels, and the outputs
of the run's own network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines import Features
from hashkit.datasets.decoding import decode_batches
from hashkit.datasets.imageset import ImageSet
from hashkit.features.table import OutputTable
from hashkit.preprocess import ImageSource, load
from hashkit.threads import available_cpus
from hashkit.workflow.reporter import ProgressBar, Reporter

if TYPE_CHECKING:
    from hashkit.runtimes.encoder import Encoder

__all__ = ["Block", "ImageFeatures", "NetworkOutputs", "PixelFeatures", "pixel_blocks"]

Block: TypeAlias = tuple[NDArray[np.int64], Features]
"""Rows of an image set, int64 [n], and their features, float32 [n, n_dimensions]."""

_PIXELS_PER_BATCH: Final = 2**19
_ROWS_PER_BLOCK: Final = 4096
_SIDE: Final = 32


class ImageFeatures(Protocol):
    """A source of features of the images of one set."""

    @property
    def name(self) -> str:
        """Name of the features, as in "ITQ on {name}"."""

    @property
    def fingerprint(self) -> str:
        """Text that changes when the features of an image change."""

    @property
    def n_dimensions(self) -> int:
        """Numbers per image."""

    def prepare(self, reporter: Reporter) -> None:
        """Do the costly part, with its own progress; called once, before `blocks`."""

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[Block]:
        """Features of rows in bounded memory, in order, without images that cannot be used."""
        ...


def pixel_blocks(
    images: ImageSet, rows: NDArray[np.int64], size: tuple[int, int], resize: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Rows of a set, decoded: int64 [n] and uint8 [n, height, width, 3], n bounded by memory.

    Images that cannot be used are left out.

    Parameters
    ----------
    size, resize
        As `hashkit.preprocess.load` takes them.
    """

    def prepare(source: ImageSource) -> NDArray[np.uint8]:
        return load(source, size, resize)

    batches = decode_batches(
        images.subset(rows),
        prepare,
        size,
        start=0,
        batch_size=max(1, _PIXELS_PER_BATCH // (size[0] * size[1])),
        n_workers=available_cpus(),
    )
    with contextlib.closing(batches):
        for batch in batches:
            if len(batch.rows):
                yield rows[batch.rows], batch.pixels


class PixelFeatures:
    """RGB values from 0 to 1, at the model's input size.

    A larger input is scaled down in proportion until neither side is longer than 32 pixels: the
    principal components of more would take more memory than most machines have, and neighbouring
    pixels are similar.

    Parameters
    ----------
    images
        The image set.
    size, resize
        (height, width) of the model, and its rule, as `hashkit.preprocess.load` takes them.
    """

    def __init__(self, images: ImageSet, size: tuple[int, int], resize: str) -> None:
        scale = min(1.0, _SIDE / max(size))
        self._size = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        self._images = images
        self._resize = resize

    @property
    def name(self) -> str:
        """Size and kind."""
        height, width = self._size
        return f"{width}x{height} pixels"

    @property
    def fingerprint(self) -> str:
        """Size and resize rule."""
        return f"rgb/255 {self._size} {self._resize}"

    @property
    def n_dimensions(self) -> int:
        """Three per pixel."""
        return self._size[0] * self._size[1] * 3

    def prepare(self, reporter: Reporter) -> None:
        """Do nothing: decoding is cheap."""

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[Block]:
        """Pixels of rows."""
        for block_rows, pixels in pixel_blocks(self._images, rows, self._size, self._resize):
            values = pixels.reshape(len(pixels), -1).astype(np.float32)
            yield block_rows, values / np.float32(255)


class NetworkOutputs:
    """Logits of the run's model.

    They are kept in a file that is filled block by block, so that an interrupted call continues
    where it stopped.

    Parameters
    ----------
    images
        The image set.
    rows
        int64, sorted: the images whose outputs are needed.
    n_bits
        Bits of the model's codes.
    fingerprint
        Fingerprint of the model and the images; a file with another one is computed again.
    path
        The file, ``.npy``, with its progress in a ``.json`` beside it.
    load_encoder
        Loads the model; called only if something is left to compute.
    """

    name = "the network's outputs"

    def __init__(
        self,
        images: ImageSet,
        rows: NDArray[np.int64],
        n_bits: int,
        fingerprint: str,
        path: Path,
        load_encoder: Callable[[], Encoder],
    ) -> None:
        self._images = images
        self._rows = rows
        self._n_bits = n_bits
        self._fingerprint = fingerprint
        self._table = OutputTable(path, len(rows), n_bits, fingerprint)
        self._load_encoder = load_encoder

    @property
    def fingerprint(self) -> str:
        """The given fingerprint."""
        return self._fingerprint

    @property
    def n_dimensions(self) -> int:
        """One per bit."""
        return self._n_bits

    def prepare(self, reporter: Reporter) -> None:
        """Run the model on the images that are left."""
        n_done = self._table.n_done()
        n_rows = len(self._rows)
        if n_done < n_rows:
            encoder = self._load_encoder()
            title = "outputs of the network"
            with reporter.progress(title, n_rows, "images", start=n_done) as bar:
                self._fill(encoder, n_done, bar)

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[Block]:
        """Outputs of rows, all among the rows of this object."""
        table = self._table.read()
        for start in range(0, len(rows), _ROWS_PER_BLOCK):
            block_rows = rows[start : start + _ROWS_PER_BLOCK]
            values = table[np.searchsorted(self._rows, block_rows)]
            usable = ~np.isnan(values).any(axis=1)
            yield block_rows[usable], values[usable]

    def _fill(self, encoder: Encoder, n_done: int, bar: ProgressBar) -> None:
        """Compute rows from ``n_done`` on; those of images that cannot be used become NaN."""
        from hashkit.runtimes.encoder import default_batch_size

        batches = decode_batches(
            self._images.subset(self._rows),
            encoder.prepare,
            encoder.manifest.size,
            start=n_done,
            batch_size=default_batch_size(encoder),
            n_workers=available_cpus(),
        )
        with contextlib.closing(batches), self._table.filled(_ROWS_PER_BLOCK) as append:
            for batch in batches:
                outputs = np.full((batch.stop - batch.start, self._n_bits), np.nan, np.float32)
                if len(batch.rows):
                    outputs[batch.rows - batch.start] = encoder.run(batch.pixels)[1]
                append(outputs)
                bar.update(batch.stop)
