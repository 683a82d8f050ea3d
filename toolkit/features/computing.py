"""Computes the features of images once, and keeps them on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.names import hash_names
from hashkit.datasets.decoding import DecodedBatch, Fault, decode_batches
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import DatasetError, RunError
from hashkit.features.embedder import Embedder
from hashkit.features.session import EmbedderSession
from hashkit.features.table import OutputTable, record_path
from hashkit.features.views import VIEW_RULE, views_of
from hashkit.files.writing import make_parents, written_whole
from hashkit.overlap import computed_ahead
from hashkit.preprocess import load, resampler
from hashkit.runtimes.settings import batch_size_for_size

__all__ = ["FEATURES_NAME", "FeatureSet", "FeatureStore"]

_ROWS_PER_SAVE: Final = 1024
FEATURES_NAME: Final = "features.npy"
"""Name of the file of features in a run folder."""


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of the images of a set that can be used.

    Attributes
    ----------
    views
        float32 [n, n_views, n_features]; mapped from the file if all images can be used.
    rows
        int64 [n], sorted: rows of these images in the set.
    faults
        The other images, and why they cannot be used.
    """

    views: NDArray[np.float32]
    rows: NDArray[np.int64]
    faults: list[Fault]

    @property
    def features(self) -> NDArray[np.float32]:
        """Features of the images as they are, float32 [n, n_features]."""
        return self.views[:, 0]


class FeatureStore:
    """Features of one image set by one embedder, in a file of a run folder.

    The file is filled in the order of the images. A computation that was killed or stopped
    continues where it was; rows of images that cannot be used are NaN. Its fingerprint is that of
    the embedder and of the list, with size and time of each file, or with the pixels of images in
    memory.

    Parameters
    ----------
    folder
        The run folder.
    images
        The images.
    embedder
        The embedder.
    n_views
        Views of each image, see `hashkit.features.views.views_of`; 1 for the image alone.
    """

    def __init__(
        self, folder: Path, images: ImageSet, embedder: Embedder, *, n_views: int = 1
    ) -> None:
        self._path = folder / FEATURES_NAME
        self._images = images
        self._embedder = embedder
        self._n_views = n_views
        self._fingerprint = _fingerprint(images, embedder, n_views)
        self._table = self._table_at(self._path)

    @staticmethod
    def paths(folder: Path) -> list[Path]:
        """The files of a store in a run folder."""
        path = folder / FEATURES_NAME
        return [path, record_path(path)]

    @property
    def n_done(self) -> int:
        """Images whose features are there."""
        return self._table.n_done()

    @property
    def is_complete(self) -> bool:
        """Whether all features are there."""
        return self.n_done == len(self._images)

    def take_from(self, folder: Path) -> bool:
        """Take complete features of the same images from another run folder, if it has them."""
        source = folder / FEATURES_NAME
        if not self._table_at(source).is_whole():
            return False
        # Without this record, a kill leaves an empty table, never a part of the other run's.
        record_path(self._path).unlink(missing_ok=True)
        for one in (source, record_path(source)):
            _link(one, self._path.with_suffix(one.suffix))
        return self.is_complete

    def compute(
        self,
        device: str = "auto",
        *,
        n_workers: int,
        strict: bool = False,
        progress: Callable[[int], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Compute the missing features, and decode ahead; returns whether all features are there.

        Parameters
        ----------
        device
            See `EmbedderSession`.
        n_workers
            Decoding threads.
        strict
            Stop at an image that cannot be used.
        progress
            Called with the number of images done.
        should_stop
            Called after each batch; if it returns True, the computation stops.

        Raises
        ------
        DatasetError
            If ``strict`` and an image cannot be used.
        DeviceError, ModelError
            If the embedder cannot run.
        OSError
            If the file cannot be written.
        """
        if self.is_complete:
            return True
        embedder = self._embedder
        session = EmbedderSession(embedder, device)
        make_parents(self._path)
        batch_size = max(1, session.batch_size // self._n_views)
        batches = self._decoded(self._images, self.n_done, batch_size, n_workers)
        results = computed_ahead(batches, lambda batch: self._computed(session, batch))
        # Closed here, not by the garbage collector: a traceback would keep the threads alive.
        with (
            contextlib.closing(batches),
            contextlib.closing(results),
            self._table.filled(_ROWS_PER_SAVE) as append,
        ):
            for batch, features in results:
                is_finite = np.isfinite(features).all(axis=1)
                faults = [*batch.faults, *map(self._not_finite, batch.rows[~is_finite].tolist())]
                if strict and faults:
                    raise DatasetError(f"{self._images.name}: {faults[0].message}")
                shape = (batch.stop - batch.start, self._n_views * embedder.n_features)
                rows = np.full(shape, np.nan, dtype=np.float32)
                rows[batch.rows[is_finite] - batch.start] = features[is_finite]
                append(rows)
                if progress is not None:
                    progress(batch.stop)
                if should_stop():
                    break
        return self.is_complete

    def read(self, n_workers: int) -> FeatureSet:
        """The features, which are complete.

        Raises
        ------
        DatasetError
            If no image can be used.
        RunError
            If the file is damaged, or has been replaced.
        """
        if not self._table.is_whole():
            raise RunError(
                f"{self._path}: expected the features that its .json file describes, found damaged "
                "or other ones: remove both files, then continue the training"
            )
        table = self._table.read()
        views = table.reshape(len(table), self._n_views, self._embedder.n_features)
        broken = np.isnan(table[:, 0])
        if not broken.any():
            return FeatureSet(views, np.arange(len(table), dtype=np.int64), [])
        faults = self._faults(np.flatnonzero(broken), n_workers)
        rows = np.flatnonzero(~broken)
        if not len(rows):
            raise DatasetError(
                f"{self._images.name}: none of its {len(table):,} images can be used, the first: "
                f"{faults[0].message}"
            )
        return FeatureSet(views[rows], rows, faults)

    def _decoded(
        self, images: ImageSet, start: int, batch_size: int, n_workers: int
    ) -> Generator[DecodedBatch, None, None]:
        """Images as the embedder takes them, from a row on; close it if you do not exhaust it."""
        size, resize = self._embedder.size, self._embedder.resize
        return decode_batches(
            images,
            functools.partial(load, size=size, resize=resize),
            size,
            start=start,
            batch_size=batch_size,
            n_workers=n_workers,
        )

    def _computed(self, session: EmbedderSession, batch: DecodedBatch) -> NDArray[np.float32]:
        """Features of a batch, those of an image's views side by side."""
        pixels = batch.pixels
        if self._n_views > 1:
            views = views_of(pixels, batch.rows, self._n_views)
            pixels = views.reshape(-1, *pixels.shape[1:])
        return session.run(pixels).reshape(
            len(batch.rows), self._n_views * self._embedder.n_features
        )

    def _faults(self, rows: NDArray[np.int64], n_workers: int) -> list[Fault]:
        """Decode the images that could not be used once more, to say why."""
        batch_size = batch_size_for_size(self._embedder.size, "CPUExecutionProvider")
        batches = self._decoded(self._images.subset(rows), 0, batch_size, n_workers)
        with contextlib.closing(batches):
            found = [
                dataclasses.replace(fault, row=int(rows[fault.row]))
                for batch in batches
                for fault in batch.faults
            ]
        decoded = np.setdiff1d(rows, [fault.row for fault in found])
        found += [self._not_finite(row) for row in decoded.tolist()]
        return sorted(found, key=lambda fault: fault.row)

    def _not_finite(self, row: int) -> Fault:
        name = self._images.names[row]
        return Fault(
            row,
            name,
            "unsupported",
            f"{name}: expected finite features, found NaN or infinite ones of the embedder "
            f"{self._embedder.name}",
        )

    def _table_at(self, path: Path) -> OutputTable:
        shape = (len(self._images), self._n_views * self._embedder.n_features)
        return OutputTable(path, *shape, self._fingerprint)


def _fingerprint(images: ImageSet, embedder: Embedder, n_views: int) -> str:
    digest = hashlib.sha256(embedder.sha256.encode())
    if n_views > 1:
        digest.update(f"{VIEW_RULE} {n_views} ".encode())
    digest.update(hash_names(images.names, None).encode())
    digest.update(f"{images.root} {embedder.size} {embedder.resize} {resampler()}".encode())
    if images.pixels is not None:
        digest.update(np.ascontiguousarray(images.pixels).data)
    if images.root is None:
        return digest.hexdigest()
    for name in images.names:
        with contextlib.suppress(OSError):
            status = (images.root / name).stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns};".encode())
    return digest.hexdigest()


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that is not possible; replaces ``target``."""
    make_parents(target)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with written_whole(target) as part:
            shutil.copyfile(source, part)
