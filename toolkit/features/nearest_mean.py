"""How well classes can be told apart by features, without training anything."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Separation", "separation"]

_N_SHUFFLES: Final = 20
_LEAST_GAIN: Final = 0.1
_DEVIATIONS: Final = 3.0


@dataclasses.dataclass(frozen=True)
class Separation:
    """How often the nearest class mean is that of an image's own class.

    Attributes
    ----------
    n_images, n_classes
        Number of images and of classes that were compared.
    accuracy
        Fraction of the images, as the mean over the classes. An image is left out of the mean of
        its own class.
    chance
        Mean of the accuracy over random orders of the labels.
    deviation
        Its standard deviation over these orders.
    """

    n_images: int
    n_classes: int
    accuracy: float
    chance: float
    deviation: float

    @property
    def is_clear(self) -> bool:
        """Whether the accuracy is clearly above chance."""
        least = max(_LEAST_GAIN * (1 - self.chance), _DEVIATIONS * self.deviation)
        return self.accuracy - self.chance > least


def separation(
    features: NDArray[np.float32], labels: NDArray[np.int64], seed: int = 0
) -> Separation | None:
    """Compare images with the means of the classes.

    Parameters
    ----------
    features
        float32 [n, n_features].
    labels
        int64 [n].
    seed
        Seed of the random orders.

    Returns
    -------
    Separation or None
        None with fewer than two classes of two images; smaller classes are left out.
    """
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    keep = counts[numbers] > 1
    classes, numbers = np.unique(numbers[keep], return_inverse=True)
    if len(classes) < 2:
        return None
    values = features[keep] / np.maximum(np.linalg.norm(features[keep], axis=1), 1e-12)[:, None]
    values -= values.mean(axis=0)
    products = values @ values.T
    rng = np.random.default_rng(seed)
    shuffled = [_accuracy(products, rng.permutation(numbers)) for _ in range(_N_SHUFFLES)]
    return Separation(
        n_images=len(numbers),
        n_classes=len(classes),
        accuracy=_accuracy(products, numbers),
        chance=float(np.mean(shuffled)),
        deviation=float(np.std(shuffled)),
    )


def _accuracy(products: NDArray[np.float32], numbers: NDArray[np.int64]) -> float:
    """Mean over classes of how often the own mean, without the image, has the largest cosine.

    Parameters
    ----------
    products
        float32 [n, n]: scalar products of the images.
    numbers
        int64 [n]: classes from 0, each with two images or more.
    """
    rows = np.arange(len(numbers))
    counts = np.bincount(numbers)
    members = np.zeros((len(numbers), len(counts)), dtype=np.float32)
    members[rows, numbers] = 1
    with_sums = products @ members  # of each image with the sum of each class
    squares = np.broadcast_to((members * with_sums).sum(axis=0), with_sums.shape).copy()
    own, itself = with_sums[rows, numbers], np.diagonal(products)
    squares[rows, numbers] += itself - 2 * own
    with_sums[rows, numbers] -= itself
    cosines = with_sums / np.sqrt(np.maximum(squares, 1e-12))
    is_right = cosines.argmax(axis=1) == numbers
    return float(np.mean(np.bincount(numbers, weights=is_right) / counts))
