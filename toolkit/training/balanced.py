"""Class-balanced batches: equally many images of each class, whatever the sizes of the classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["balanced_batches"]


def balanced_batches(
    labels: NDArray[np.integer[Any]],
    n_batches: int,
    n_classes: int,
    n_images: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw batches of ``n_images`` images of each of ``n_classes`` classes.

    A batch takes the classes that were drawn least before, so their numbers of batches differ by
    1 at most. The images of a class are taken in random order, and again from the first when all
    were taken; only a class with fewer than ``n_images`` images is repeated within a batch.

    Parameters
    ----------
    labels
        int64 [n_items], of at least ``n_classes`` classes.
    n_batches
        Number of batches.
    n_classes, n_images
        Classes per batch, and images of each.
    rng
        Source of all random values.

    Returns
    -------
    NDArray
        Rows of ``labels``, int64 [n_batches, n_classes * n_images].
    """
    names, of_items = np.unique(labels, return_inverse=True)
    members = [
        _in_turn(np.flatnonzero(of_items == number), n_images, rng) for number in range(len(names))
    ]
    n_drawn = np.zeros(len(names), dtype=np.int64)
    batches = []
    for _ in range(n_batches):
        chosen = np.lexsort((rng.random(len(names)), n_drawn))[:n_classes]
        n_drawn[chosen] += 1
        batches.append(np.concatenate([next(members[number]) for number in chosen]))
    return np.stack(batches)


def _in_turn(
    members: NDArray[np.int64], n_images: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield ``n_images`` members at a time, in random orders of all of them."""
    waiting = rng.permutation(members)
    while True:
        while len(waiting) < n_images:
            again = rng.permutation(members)
            is_waiting = np.isin(again, waiting)
            waiting = np.concatenate([waiting, again[~is_waiting], again[is_waiting]])
        yield waiting[:n_images]
        waiting = waiting[n_images:]
