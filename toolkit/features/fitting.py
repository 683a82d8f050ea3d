"""Heads that are fitted to features without torch: ITQ, PCA hashing, LSH, spectral hashing."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines import LinearHash, SpectralHash, method_named
from hashkit.errors import ConfigError, TrainingError

__all__ = ["fit_head"]

_BLOCK: Final = 8192


def fit_head(
    method: str, features: NDArray[np.float32], n_bits: int, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Fit a head to the features of training images.

    Parameters
    ----------
    method
        A name of `hashkit.runs.known_names.FITTED`.
    features
        float32 [n, n_features].
    n_bits, seed
        Code length, and seed of random values.

    Returns
    -------
    dict
        The tensors that `hashkit.features.head.head_from_tensors` takes. Linear heads are scaled
        so that the logits of the training images have a root mean square of 1; this changes no
        bit.

    Raises
    ------
    ConfigError
        If the features are not finite, are all the same, or vary along too few directions.
    """
    fitted = method_named(method)(features, None, n_bits, seed)
    if isinstance(fitted, LinearHash):
        weight, mean = fitted.directions, fitted.mean
        bias = np.zeros(n_bits, np.float32)
        weight = weight / _root_mean_square(features, mean, weight)
    elif isinstance(fitted, SpectralHash):
        mean = fitted.mean
        weight = fitted.directions[:, fitted.axes] * fitted.frequencies
        bias = -fitted.low[fitted.axes] * fitted.frequencies
    else:
        raise ConfigError(f"the method {method} gives no head on features")
    return {
        "mean": mean.astype(np.float32),
        "std": np.ones_like(mean, dtype=np.float32),
        "heads.0.linear.weight": np.ascontiguousarray(weight.T, dtype=np.float32),
        "heads.0.linear.bias": bias.astype(np.float32),
    }


def _root_mean_square(
    features: NDArray[np.float32], mean: NDArray[np.float32], weight: NDArray[np.float32]
) -> float:
    total = 0.0
    for start in range(0, len(features), _BLOCK):
        logits = (features[start : start + _BLOCK] - mean) @ weight
        total += float(np.square(logits, dtype=np.float64).sum())
    value = float((total / (len(features) * weight.shape[1])) ** 0.5)
    if not value > 0:
        raise TrainingError(
            f"expected features that differ between the training images, found the same for all "
            f"{len(features):,} of them: add other images, or use another network"
        )
    return value
