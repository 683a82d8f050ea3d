"""Order of the training images, as a function of seed and step only.

There is no state: step ``s`` of a resumed run gets the same images as in an uninterrupted run.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.training.balanced import balanced_batches

__all__ = ["ORDER_STREAM", "BatchOrder", "draw_views", "generator", "step_seed"]

ORDER_STREAM: Final = 1
AUGMENT_STREAM: Final = 2
DROPOUT_STREAM: Final = 3
UNLABELLED_ORDER_STREAM: Final = 4
UNLABELLED_AUGMENT_STREAM: Final = 5


def generator(seed: int, stream: int, index: int) -> np.random.Generator:
    """NumPy generator for one purpose (stream) in one epoch or step."""
    return np.random.default_rng([seed, stream, index])


def step_seed(seed: int, stream: int, step: int) -> int:
    """63-bit seed for one purpose (stream) in one step, for torch's generators."""
    return int(np.random.SeedSequence([seed, stream, step]).generate_state(1, np.uint64)[0] >> 1)


def draw_views(n_images: int, n_views: int, seed: int, step: int) -> NDArray[np.int64]:
    """Two different views, of ``n_views``, for each image of a step: int64 [2, n_images]."""
    rng = generator(seed, AUGMENT_STREAM, step)
    first = rng.integers(n_views, size=n_images)
    second = (first + rng.integers(1, n_views, size=n_images)) % n_views
    return np.stack([first, second])


@dataclasses.dataclass(frozen=True)
class BatchOrder:
    """Batches of an epoch: every item once, without the last incomplete batch, or class-balanced.

    Attributes
    ----------
    n_items
        Number of images, or of triplets in a list.
    batch_size
        Items per batch; all items if there are fewer.
    seed
        Seed of the run.
    labels
        int64 [n_items], or None for plain shuffling. With labels, items are shuffled in groups of
        ``group_size`` with the same label, so that a batch contains similar pairs for any number
        of classes.
    group_size
        Items with the same label that stay together.
    n_classes
        Classes of a balanced batch, with ``group_size`` items of each (`balanced_batches`); an
        epoch has the same number of batches. 0 for every item once.
    stream
        Random stream of the order.
    """

    n_items: int
    batch_size: int
    seed: int
    labels: NDArray[np.integer[Any]] | None = None
    group_size: int = 1
    n_classes: int = 0
    stream: int = ORDER_STREAM

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch, at least 1."""
        return max(1, self.n_items // self.batch_size)

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """Items of an epoch: int64 [steps_per_epoch, batch size]."""
        rng = generator(self.seed, self.stream, epoch)
        if self.labels is not None and self.n_classes:
            return balanced_batches(
                self.labels, self.steps_per_epoch, self.n_classes, self.group_size, rng
            )
        if self.labels is None or self.group_size <= 1:
            order = rng.permutation(self.n_items)
        else:
            order = self._grouped(rng)
        size = min(self.batch_size, self.n_items)
        return order[: self.steps_per_epoch * size].reshape(-1, size)

    def _grouped(self, rng: np.random.Generator) -> NDArray[np.int64]:
        assert self.labels is not None  # noqa: S101 - by epoch()
        shuffled = rng.permutation(self.n_items)
        by_label = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        ends = np.flatnonzero(np.diff(self.labels[by_label])) + 1
        groups = [
            members[start : start + self.group_size]
            for members in np.split(by_label, ends)
            for start in range(0, len(members), self.group_size)
        ]
        return np.concatenate([groups[index] for index in rng.permutation(len(groups))])
