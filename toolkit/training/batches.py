"""Batches: images of the training set, augmented on the device, with their labels.

On a GPU a step of a small network takes one or two milliseconds, most of them spent by the host on
kernel launches. So the images of several steps are augmented together there, which reduces the
launches per step, and in advance, while earlier steps run. Random values are still drawn per step
(`hashkit.training.sampling`), so the number of steps per group does not change the results.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashkit.overlap import computed_ahead
from hashkit.training.augment import Augmentation, Draws, augment, draw
from hashkit.training.data import FeatureViews, TrainingData
from hashkit.training.devices import to_device
from hashkit.training.mixing import Cut, cut_and_mix, draw_cut
from hashkit.training.sampling import AUGMENT_STREAM, BatchOrder, draw_views, step_seed

__all__ = ["Batch", "BatchAugmentation", "BatchSource", "Views"]

_GROUP_BYTES: Final = 2**26
"""Bytes of pixels that are augmented at a time on a GPU; as float32 they take four times that."""

_MAX_GROUP: Final = 32
"""Largest number of steps that are augmented together; more give no measurable gain."""


@dataclasses.dataclass(frozen=True)
class BatchAugmentation:
    """Augmentation of the images of a batch.

    Attributes
    ----------
    augmentation
        Augmentation of single images.
    cutmix
        Fraction of the batches in which images exchange a rectangle, in [0, 1].
    n_views
        Augmented views of each image in a batch.
    seed
        Seed of the run.
    """

    augmentation: Augmentation
    cutmix: float
    n_views: int
    seed: int


@dataclasses.dataclass(frozen=True)
class Views:
    """Two views of unlabelled images, uint8 [n, H, W, 3] each, in the same order.

    Attributes
    ----------
    weak
        View in which the model finds the class.
    strong
        View that learns this class.
    """

    weak: Tensor
    strong: Tensor


@dataclasses.dataclass(frozen=True)
class Batch:
    """Input of one training step; tensors are on the device.

    Attributes
    ----------
    rows
        int64 [n], rows of the training set; distinct, unless a balanced batch repeats the images of
        a small class.
    images
        uint8 [n_views * n, H, W, 3], the first view of all images, then the next; their features,
        float32 [n_views * n, n_features], if several views of each were computed before; None if
        the features are cached.
    kept
        Fraction of each image's pixels that are its own, see `hashkit.training.mixing`.
    labels
        int64 [n] or uint8 [n, n_classes]; None if the loss does not learn from labels.
    triplets
        int64 [T, 3], indices into ``rows``: query, similar, dissimilar; None without a triplet
        list.
    unlabelled
        Unlabelled images of the step (`hashkit.training.unlabelled`); None without any.
    n_trusted
        Number of unlabelled images that follow those of ``rows``; the label of each is the class
        that the model is confident of, or -1.
    """

    rows: Tensor
    images: Tensor | None
    kept: float
    labels: Tensor | None
    triplets: Tensor | None
    unlabelled: Views | None = None
    n_trusted: int = 0

    @property
    def n_images(self) -> int:
        """Images of the step, with and without labels."""
        return len(self.rows) + (0 if self.unlabelled is None else len(self.unlabelled.weak))


@dataclasses.dataclass(frozen=True, eq=False)
class _Group:
    """Consecutive steps that are augmented together.

    Attributes
    ----------
    items, rows
        Items of each step, and its images: int64 arrays.
    steps
        Numbers of the steps in the run.
    n_done
        How many of the steps, from the first, are already done.
    """

    items: list[NDArray[np.int64]]
    rows: list[NDArray[np.int64]]
    steps: range
    n_done: int


class BatchSource:
    """Batches of a training set.

    Parameters
    ----------
    data
        The training set.
    augmentation
        Augmentation of the images.
    size
        (height, width) of the images, pixels.
    device
        Where the batches are made.
    """

    def __init__(
        self,
        data: TrainingData,
        augmentation: BatchAugmentation,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._data = data
        self._augmentation = augmentation
        self._size = size
        self._device = device
        self._pixels = data.pixels.on(device)
        self._views = self._pixels if isinstance(self._pixels, FeatureViews) else None
        self._labels = None if data.labels is None else torch.from_numpy(data.labels).to(device)

    def images(self, rows: NDArray[np.int64]) -> Tensor:
        """Images without augmentation, on the device: int64 [n] -> uint8 [n, H, W, 3]."""
        return to_device(self._pixels.batch(rows), self._device)

    def steps(
        self, order: BatchOrder, *, first_step: int, n_steps: int, with_images: bool = True
    ) -> Generator[Batch, None, None]:
        """Batches of the steps from ``first_step`` to ``n_steps``, across epochs.

        Close the generator if you do not exhaust it.

        Parameters
        ----------
        order
            Items of each step (images, or rows of the triplet list).
        first_step, n_steps
            Steps that are already done, and the length of the run.
        with_images
            Whether to load images; False if features are cached.
        """
        wanted = (first_step, n_steps)
        # The rows are generated a second time for the images, which are taken by another thread.
        rows = (np.concatenate(group.rows) for group in self._groups(order, *wanted))
        no_images: Generator[None, None, None] = (None for _ in rows)
        has_images = with_images and self._views is None
        images = self._pixels.batches(rows) if has_images else no_images

        def make(group: _Group) -> list[Batch]:
            return self._batches(group, next(images))

        made = self._each(self._groups(order, *wanted), make)
        # ``made`` is closed first: on a GPU another thread takes from ``images`` for it.
        with contextlib.closing(images), contextlib.closing(made):
            for group, batches in made:
                yield from batches[group.n_done :]

    def _each(
        self, groups: Iterable[_Group], make: Callable[[_Group], list[Batch]]
    ) -> Generator[tuple[_Group, list[Batch]], None, None]:
        """Yield each group with its batches; on a GPU, prepare the next one in the background."""
        if self._device.type == "cpu":
            return ((group, make(group)) for group in groups)
        return computed_ahead(groups, make)

    def _groups(self, order: BatchOrder, first_step: int, n_steps: int) -> Iterator[_Group]:
        """Consecutive steps of an epoch that are augmented together."""
        per_epoch = order.steps_per_epoch
        n_images = order.batch_size * (1 if self._data.triplets is None else 3)
        size = self._group_size(n_images)
        # Groups start at the same steps in a resumed epoch, so a GPU computes the same groups.
        epoch, n_done = divmod(first_step, per_epoch)
        start = n_done - n_done % size
        while (first := epoch * per_epoch) + start < n_steps:
            items = order.epoch(epoch)[: n_steps - first]
            while start < len(items):
                chosen = list(items[start : start + size])
                steps = range(first + start, first + start + len(chosen))
                rows = [self._rows(of_step) for of_step in chosen]
                yield _Group(chosen, rows, steps, max(0, first_step - steps.start))
                start += size
            epoch, start = epoch + 1, 0

    def _batches(self, group: _Group, pixels: Tensor | None) -> list[Batch]:
        """Batches of a group of steps; ``pixels`` are the images of all of them."""
        sizes = [len(rows) for rows in group.rows]
        all_rows = to_device(torch.from_numpy(np.concatenate(group.rows)), self._device)
        no_values: list[Any] = [None] * len(sizes)
        labels = no_values if self._labels is None else torch.split(self._labels[all_rows], sizes)
        images, kept = no_values, [1.0] * len(sizes)
        if pixels is not None:
            images, kept = self._augmented(to_device(pixels, self._device), sizes, group.steps)
        elif self._views is not None:
            images = [
                self._two_views(self._views, *one)
                for one in zip(group.rows, group.steps, strict=True)
            ]
        return [
            Batch(own_rows, own_images, own_share, own_labels, self._triplets(own_items, numbers))
            for own_rows, own_images, own_share, own_labels, own_items, numbers in zip(
                torch.split(all_rows, sizes),
                images,
                kept,
                labels,
                group.items,
                group.rows,
                strict=True,
            )
        ]

    def _rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Images of a step; with triplets, each once."""
        chosen = self._data.fit_items[items]
        triplets = self._data.triplets
        return chosen if triplets is None else np.unique(triplets[chosen])

    def _triplets(self, items: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor | None:
        if self._data.triplets is None:
            return None
        places = np.searchsorted(rows, self._data.triplets[self._data.fit_items[items]])
        return to_device(torch.from_numpy(places), self._device)

    def _group_size(self, n_images: int) -> int:
        """Number of steps that are augmented together; 1 on the CPU, which has no launch cost."""
        if self._device.type == "cpu":
            return 1
        n_bytes = 3 * self._size[0] * self._size[1] * self._augmentation.n_views * n_images
        return max(1, min(_MAX_GROUP, _GROUP_BYTES // n_bytes))

    def _augmented(
        self, images: Tensor, sizes: Sequence[int], steps: Sequence[int]
    ) -> tuple[list[Tensor], list[float]]:
        """Augmented images of each step, and the fraction of each image that is its own."""
        n_views = self._augmentation.n_views
        if n_views > 1:
            images = torch.cat(
                [part for part in torch.split(images, list(sizes)) for _ in range(n_views)]
            )
        drawn = [self._draw(n_images, step) for n_images, step in zip(sizes, steps, strict=True)]
        draws = Draws.joined([view for views, _ in drawn for view in views])
        images = augment(images, self._augmentation.augmentation, draws.to(self._device))
        parts = torch.split(images, [n_images * n_views for n_images in sizes])
        cuts = [cut for _, cut in drawn]
        mixed = [
            part if cut is None else cut_and_mix(part, cut)
            for part, cut in zip(parts, cuts, strict=True)
        ]
        return mixed, [1.0 if cut is None else cut.kept for cut in cuts]

    def _two_views(self, views: FeatureViews, rows: NDArray[np.int64], step: int) -> Tensor:
        """Features of two views of each image of a step, float32 [2 * n, n_features]."""
        chosen = draw_views(len(rows), views.n_views, self._augmentation.seed, step)
        return to_device(torch.cat([views.of(rows, view) for view in chosen]), self._device)

    def _draw(self, n_images: int, step: int) -> tuple[list[Draws], Cut | None]:
        """Random values of a step: the draws of each view, and the rectangle of CutMix."""
        settings = self._augmentation
        draws = torch.Generator().manual_seed(step_seed(settings.seed, AUGMENT_STREAM, step))
        views = [
            draw(n_images, self._size, settings.augmentation, draws)
            for _ in range(settings.n_views)
        ]
        return views, draw_cut(self._size, settings.cutmix, draws)
