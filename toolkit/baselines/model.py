"""The interface of a baseline: it is fitted on features and encodes features as codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.errors import ConfigError
from hashkit.inputs.masks import unmasked

__all__ = ["BaselineModel", "Features", "Fit", "LinearHash", "check_features"]

Features: TypeAlias = NDArray[np.float32]
"""float32 [n, n_dimensions], one row per image."""


class BaselineModel(Protocol):
    """A fitted baseline."""

    @property
    def n_bits(self) -> int:
        """Code length."""

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)], of features, float32 [n, n_dimensions].

        The code of a row does not depend on other rows, so features may be encoded in blocks.
        """
        ...


Fit: TypeAlias = Callable[[Features, NDArray[Any] | None, int, int], BaselineModel]
"""``fit(features, labels, n_bits, seed)`` with features and labels (int [n]) of training images."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearHash:
    """Bit j is 1 on the positive side of a hyperplane through the mean of the training features.

    Attributes
    ----------
    mean
        float32 [n_dimensions].
    directions
        float32 [n_dimensions, n_bits], the normals of the hyperplanes.
    """

    mean: Features
    directions: Features

    @property
    def n_bits(self) -> int:
        """Code length."""
        return int(self.directions.shape[1])

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)]."""
        return binarize((features - self.mean) @ self.directions)


def check_features(features: NDArray[Any]) -> Features:
    """Check that a baseline can be fitted on features, and return them as float32.

    Raises
    ------
    ConfigError
        If they are not finite floating-point numbers [n, n_dimensions] with at least two rows.
    """
    features = np.asarray(unmasked(features, "training features", ConfigError))
    if features.ndim != 2 or len(features) < 2 or not features.shape[1]:
        raise ConfigError(
            "a baseline needs training features [n, n_dimensions] of at least two images, "
            f"found shape {list(features.shape)}"
        )
    if not np.issubdtype(features.dtype, np.floating):
        raise ConfigError(f"training features must be floating point, not {features.dtype}")
    if not np.isfinite(features).all():
        raise ConfigError("training features must be finite, but some are NaN or infinite")
    return features.astype(np.float32, copy=False)
