"""PCA hashing: the signs of the principal components.

The baseline "PCA-Direct" of Gong & Lazebnik, CVPR 2011; PCAH in Wang, Kumar & Chang,
"Semi-Supervised Hashing for Scalable Image Retrieval", CVPR 2010.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features, LinearHash, check_features
from hashkit.baselines.pca import principal_components_per_bit

__all__ = ["fit_pcah"]


def fit_pcah(features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int) -> LinearHash:
    """One bit per principal component: ``bit = (x - mean) . w_j > 0``, ``w_j`` the j-th largest.

    Raises
    ------
    ConfigError
        If the features are invalid, or vary along fewer than ``n_bits`` directions.
    """
    del labels, seed
    components = principal_components_per_bit(check_features(features), n_bits)
    return LinearHash(components.mean.astype(np.float32), components.directions.astype(np.float32))
