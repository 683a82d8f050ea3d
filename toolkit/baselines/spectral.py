"""Spectral hashing: sinusoids along the principal components.

Weiss, Torralba & Fergus, "Spectral Hashing", NIPS 2008, section 3.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features, check_features
from hashkit.baselines.pca import principal_components
from hashkit.codes import binarize, code_size

__all__ = ["SpectralHash", "fit_spectral"]


@dataclasses.dataclass(frozen=True, eq=False)
class SpectralHash:
    """Bit j is 1 if ``cos(frequency_j * (y - low)) > 0``, y being the coordinate along its axis.

    Attributes
    ----------
    mean
        float32 [n_dimensions].
    directions
        float32 [n_dimensions, n_axes].
    low
        float32 [n_axes], the smallest coordinate of the training features.
    axes
        int64 [n_bits], the axis of each bit.
    frequencies
        float32 [n_bits], radians per unit of the coordinate.
    """

    mean: Features
    directions: Features
    low: Features
    axes: NDArray[np.int64]
    frequencies: Features

    @property
    def n_bits(self) -> int:
        """Code length."""
        return len(self.axes)

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)]."""
        coordinates = (features - self.mean) @ self.directions - self.low
        return binarize(np.cos(coordinates[:, self.axes] * self.frequencies))


def fit_spectral(
    features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int
) -> SpectralHash:
    """Thresholded eigenfunctions of the Laplacian of a box along the principal components.

    The training features are assumed to fill a box ``[a, b]`` along each component. The bits are
    the ``n_bits`` one-dimensional eigenfunctions ``sin(pi / 2 + k pi / (b - a) x)``, k = 1, 2, ...
    (equation 9), with the smallest eigenvalues ``1 - exp(-(epsilon^2 / 2) (k pi / (b - a))^2)``
    (equation 10). For any epsilon these have the smallest ``k / (b - a)``. A component with a wide
    range can have several bits, so there may be more bits than dimensions.

    Raises
    ------
    ConfigError
        If the features are invalid.
    """
    del labels, seed
    features = check_features(features)
    code_size(n_bits)
    components = principal_components(features, n_bits)
    coordinates = components.project(features)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    axes, waves = _smoothest_waves(high - low, n_bits)
    return SpectralHash(
        components.mean.astype(np.float32),
        components.directions.astype(np.float32),
        low.astype(np.float32),
        axes,
        (waves * np.pi / (high - low)[axes]).astype(np.float32),
    )


def _smoothest_waves(
    ranges: NDArray[np.float64], n_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Axis and k of the ``n_bits`` waves of smallest k / range, in ascending order."""
    ks = np.arange(1, n_bits + 1)
    order = np.argsort(ks[:, None] / ranges, axis=None, kind="stable")[:n_bits]
    waves, axes = np.unravel_index(order, (n_bits, len(ranges)))
    return axes.astype(np.int64), ks[waves]
