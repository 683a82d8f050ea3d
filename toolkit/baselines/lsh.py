"""Locality-sensitive hashing by random hyperplanes.

Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002, section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features, LinearHash, check_features
from hashkit.codes import code_size

__all__ = ["fit_lsh"]


def fit_lsh(features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int) -> LinearHash:
    """Random hyperplanes: ``h_r(x) = 1`` where ``r . x > 0``, each ``r`` drawn from a Gaussian.

    For two vectors, ``Pr[h_r(x) = h_r(y)] = 1 - angle(x, y) / pi``, so the Hamming distance
    estimates the angle. The angle is measured about the training mean. Seen from the origin,
    all-positive features such as pixels lie in a narrow cone, and most bits would be equal.

    Raises
    ------
    ConfigError
        If the features are invalid.
    """
    del labels
    features = check_features(features)
    code_size(n_bits)
    normals = np.random.default_rng(seed).standard_normal((features.shape[1], n_bits))
    mean = features.mean(axis=0, dtype=np.float64)
    return LinearHash(mean.astype(np.float32), normals.astype(np.float32))
