"""Iterative quantisation: rotate the principal components to minimise the quantisation loss.

Gong & Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes",
CVPR 2011, section 2.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features, LinearHash, check_features
from hashkit.baselines.pca import principal_components_per_bit

__all__ = ["N_ITERATIONS", "fit_itq", "quantisation_rotation"]

N_ITERATIONS: Final = 50
"""Number of iterations in the paper."""


def fit_itq(features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int) -> LinearHash:
    """PCA, then the rotation that brings the projections closest to the corners of the hypercube.

    Raises
    ------
    ConfigError
        If the features are invalid, or vary along fewer than ``n_bits`` directions.
    """
    del labels
    features = check_features(features)
    components = principal_components_per_bit(features, n_bits)
    rotation = quantisation_rotation(components.project(features), seed)
    directions = components.directions @ rotation
    return LinearHash(components.mean.astype(np.float32), directions.astype(np.float32))


def quantisation_rotation(
    projected: NDArray[np.float64], seed: int, n_iterations: int = N_ITERATIONS
) -> NDArray[np.float64]:
    """Rotation R that reduces the quantisation loss ``|B - V R|^2`` (equation 2).

    Starts from a random rotation and alternates two steps, neither of which can increase the loss:
    with R fixed, ``B = sgn(V R)``; with B fixed, the orthogonal Procrustes problem, solved by the
    singular value decomposition ``B^T V = S O T^T`` as ``R = T S^T``.

    Parameters
    ----------
    projected
        V, float64 [n, n_bits], with mean 0.
    seed
        Seed of the initial rotation.
    n_iterations
        Number of pairs of steps.

    Returns
    -------
    NDArray
        float64 [n_bits, n_bits], orthogonal.
    """
    n_bits = projected.shape[1]
    draw = np.random.default_rng(seed).standard_normal((n_bits, n_bits))
    rotation: NDArray[np.float64] = np.linalg.qr(draw)[0]
    for _ in range(n_iterations):
        signs = np.where(projected @ rotation > 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(signs.T @ projected)
        rotation = right.T @ left.T
    return rotation
