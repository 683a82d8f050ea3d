"""Training images: decoded once into memory, or decoded ahead of the training loop."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Generator, Iterable
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashkit.datasets.decoding import Decoder
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.errors import ImageError
from hashkit.preprocess import load
from hashkit.training.devices import to_device
from hashkit.training.losses import Task

__all__ = [
    "MEMORY_LIMIT_BYTES",
    "FeatureRows",
    "FeatureViews",
    "MemoryPixels",
    "Pixels",
    "StreamedPixels",
    "TrainingData",
    "memory_limit",
]

MEMORY_LIMIT_BYTES: Final = 4 * 2**30
"""Decoded training sets up to this size are held in memory."""

DEVICE_SHARE: Final = 0.5
"""Largest fraction of a GPU's free memory for images; the network needs the rest."""


def memory_limit(device: torch.device) -> int:
    """Bytes of images or features that may stay on a device during training."""
    if device.type != "cuda":
        return MEMORY_LIMIT_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * DEVICE_SHARE)


class Pixels(Protocol):
    """Decoded images by row, or features in their place (`FeatureRows`)."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of rows: uint8 [n, H, W, 3]."""
        ...

    def batches(
        self, rows_of_batches: Iterable[NDArray[np.int64]]
    ) -> Generator[Tensor, None, None]:
        """Images of each batch of rows, in order; close the generator if you do not exhaust it."""
        ...

    def sample(self, n_images: int) -> NDArray[Any]:
        """Up to ``n_images`` evenly spaced images: uint8 [m, H, W, 3]."""
        ...

    def on(self, device: torch.device) -> Pixels:
        """The same images, held on the device if they are in memory and fit there."""
        ...


class MemoryPixels:
    """Images held in memory, uint8 [n, H, W, 3]."""

    def __init__(self, pixels: NDArray[np.uint8] | Tensor) -> None:
        if not isinstance(pixels, Tensor):
            pixels = torch.from_numpy(np.ascontiguousarray(pixels))
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of rows."""
        return self._pixels[to_device(torch.from_numpy(rows), self._pixels.device)]

    def batches(
        self, rows_of_batches: Iterable[NDArray[np.int64]]
    ) -> Generator[Tensor, None, None]:
        """Images of each batch of rows."""
        for rows in rows_of_batches:
            yield self.batch(rows)

    def sample(self, n_images: int) -> NDArray[np.uint8]:
        """Up to ``n_images`` evenly spaced images."""
        sampled: NDArray[np.uint8] = self.batch(spread_rows(len(self), n_images)).cpu().numpy()
        return sampled

    def on(self, device: torch.device) -> Pixels:
        """A copy on the device if it fits there, otherwise itself."""
        fits = self._pixels.nbytes <= memory_limit(device)
        return MemoryPixels(self._pixels.to(device)) if fits else self


class FeatureRows:
    """Features of an embedder in place of images: float32 [n, n_features], maybe memory-mapped."""

    def __init__(self, features: NDArray[np.float32]) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Features of rows: float32 [n, n_features]."""
        return torch.from_numpy(self._features[rows])

    def batches(
        self, rows_of_batches: Iterable[NDArray[np.int64]]
    ) -> Generator[Tensor, None, None]:
        """Features of each batch of rows."""
        for rows in rows_of_batches:
            yield self.batch(rows)

    def sample(self, n_images: int) -> NDArray[np.float32]:
        """Features of up to ``n_images`` evenly spaced images."""
        sampled: NDArray[np.float32] = self._features[spread_rows(len(self), n_images)]
        return sampled

    def on(self, device: torch.device) -> Pixels:  # noqa: ARG002
        """Itself: the trainer keeps the features on the device."""
        return self


class FeatureViews(FeatureRows):
    """Features of several views of each image, the first of which is the image itself.

    Parameters
    ----------
    views
        float32 [n, n_views, n_features], maybe memory-mapped.
    """

    def __init__(self, views: NDArray[np.float32]) -> None:
        super().__init__(views[:, 0])
        self._views = views

    @property
    def n_views(self) -> int:
        """Views per image."""
        return int(self._views.shape[1])

    def of(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Features of one view of each row, both int64 [n]: float32 [n, n_features]."""
        return torch.from_numpy(self._views[rows, views])


class StreamedPixels:
    """Images decoded by threads while the network computes.

    Parameters
    ----------
    images
        Images that are known to decode.
    size, resize
        See `hashkit.preprocess.load`.
    n_workers
        Decoding threads.
    """

    def __init__(
        self, images: ImageSet, size: tuple[int, int], resize: str, n_workers: int
    ) -> None:
        self._n_images = len(images)
        prepare = functools.partial(load, size=size, resize=resize)
        self._decoder = Decoder(images, prepare, size, n_workers)

    def __len__(self) -> int:
        return self._n_images

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Images of rows, decoded on request."""
        return next(self.batches([rows]))

    def batches(
        self, rows_of_batches: Iterable[NDArray[np.int64]]
    ) -> Generator[Tensor, None, None]:
        """Images of each batch of rows, decoded ahead.

        Raises
        ------
        ImageError
            If an image can no longer be decoded.
        """
        with contextlib.closing(self._decoder.batches(rows_of_batches)) as batches:
            for batch in batches:
                if batch.faults:
                    raise ImageError(batch.faults[0].message, batch.faults[0].reason)
                yield torch.from_numpy(batch.pixels)

    def sample(self, n_images: int) -> NDArray[np.uint8]:
        """Up to ``n_images`` evenly spaced images."""
        return self.batch(spread_rows(len(self), n_images)).numpy()

    def on(self, device: torch.device) -> Pixels:  # noqa: ARG002
        """Itself, because decoded images are not kept."""
        return self


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The training set of a run.

    Attributes
    ----------
    pixels
        The images.
    labels
        int64 [n] or uint8 [n, n_classes] multi-hot; None with triplets, and for losses that need
        no labels.
    triplets
        int64 [n_triplets, 3], rows of query, similar and dissimilar image; None without triplets.
    fit_items, held_items
        int64, items to train on, and held-out items that select the checkpoint: rows of
        ``triplets`` if given, otherwise rows of the images.
    names_sha256
        SHA-256 over names and labels, by which a resumed run checks its images.
    dataset, protocol
        Names of image set and protocol for the manifest.
    class_names
        Names by label.
    unlabelled
        Images that are learned from without labels; None without any.
    """

    pixels: Pixels
    labels: NDArray[Any] | None
    triplets: NDArray[np.int64] | None
    fit_items: NDArray[np.int64]
    held_items: NDArray[np.int64]
    names_sha256: str = ""
    dataset: str = ""
    protocol: str = ""
    class_names: tuple[str, ...] = ()
    unlabelled: Pixels | None = None

    def task(self, n_bits: int) -> Task:
        """The task of a loss for codes of ``n_bits`` bits."""
        labels = self.labels
        if labels is None:
            return Task(n_bits, n_classes=0)
        if labels.ndim == 2:
            return Task(n_bits, n_classes=labels.shape[1], is_multi_label=True)
        return Task(n_bits, n_classes=max(len(self.class_names), int(labels.max()) + 1))

    def fit_rows(self) -> NDArray[np.int64]:
        """Rows of the images to train on, int64 [n], sorted, each once."""
        chosen = self.fit_items if self.triplets is None else self.triplets[self.fit_items]
        return np.unique(chosen)

    def fit_labels(self) -> NDArray[np.int64] | None:
        """Labels to group batches by: int64, one per item to fit; None if not available."""
        if self.labels is None or self.labels.ndim != 1:
            return None
        grouped: NDArray[np.int64] = self.labels[self.fit_items]
        return grouped
