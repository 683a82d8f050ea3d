from __future__ import annotations

import numpy as np
import pytest

from hashkit.features.nearest_mean import separation


def _plain_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """By loops: the mean over classes of how often the own mean is the nearest by angle."""
    values = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = values - values.mean(axis=0)
    right: dict[int, list[bool]] = {}
    for one in range(len(labels)):
        cosines = {}
        for label in np.unique(labels):
            members = [row for row in np.flatnonzero(labels == label) if row != one]
            mean = values[members].mean(axis=0)
            cosines[label] = mean @ values[one] / np.linalg.norm(mean)
        right.setdefault(labels[one], []).append(max(cosines, key=cosines.get) == labels[one])
    return float(np.mean([np.mean(of_class) for of_class in right.values()]))


def test_the_accuracy_is_that_of_plain_loops() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([7, 2, 5], [20, 9, 31])
    features = rng.random((60, 24), dtype=np.float32) + 0.8 * np.eye(24, dtype=np.float32)[labels]
    found = separation(features, labels)
    assert found is not None
    assert (found.n_images, found.n_classes) == (60, 3)
    assert found.accuracy == pytest.approx(_plain_accuracy(features, labels))
    assert found.accuracy > 0.5
    assert found.is_clear


def test_random_classes_are_not_clear_and_single_images_are_left_out() -> None:
    rng = np.random.default_rng(0)
    features = rng.random((90, 24), dtype=np.float32)
    labels = rng.integers(0, 3, 90)
    found = separation(features, np.append(labels[:-1], 9))
    assert found is not None
    assert (found.n_images, found.n_classes) == (89, 3)
    assert 0.25 < found.chance < 0.4
    assert not found.is_clear
    assert separation(features, np.arange(90)) is None
    assert separation(features, np.zeros(90, dtype=np.int64)) is None
