"""Which images each step sees, as a function of seed and step alone.

Nothing here has a state: a resumed run asks for step ``s`` and gets what the run that was
never stopped got.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORDER_STREAM", "BatchOrder", "generator", "step_seed"]

ORDER_STREAM: Final = 1
AUGMENT_STREAM: Final = 2
DROPOUT_STREAM: Final = 3


def generator(seed: int, stream: int, index: int) -> np.random.Generator:
    """NumPy generator of one purpose at one epoch or step."""
    return np.random.default_rng([seed, stream, index])


def step_seed(seed: int, stream: int, step: int) -> int:
    """63-bit seed of one purpose at one step, for torch's generators."""
    return int(np.random.SeedSequence([seed, stream, step]).generate_state(1, np.uint64)[0] >> 1)


@dataclasses.dataclass(frozen=True)
class BatchOrder:
    """Batches of an epoch: every item once, the last incomplete batch left out.

    Attributes
    ----------
    n_items
        Images, or triplets of a list.
    batch_size
        Items a batch; fewer if there are fewer items.
    seed
        Seed of the run.
    labels
        int64 [n_items], or None for plain shuffling. With labels, items come in groups of
        ``group_size`` of the same label, so that a batch holds similar pairs however many
        classes there are.
    group_size
        Items of one label that stay together.
    """

    n_items: int
    batch_size: int
    seed: int
    labels: NDArray[np.integer[Any]] | None = None
    group_size: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, at least 1."""
        return max(1, self.n_items // self.batch_size)

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """Items of an epoch: int64 [steps_per_epoch, batch size]."""
        rng = generator(self.seed, ORDER_STREAM, epoch)
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
