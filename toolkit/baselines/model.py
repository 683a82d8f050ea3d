"""What every baseline is: fitted on features, it turns features into codes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.errors import ConfigError

__all__ = ["BaselineModel", "Features", "Fit", "LinearHash", "check_features"]

Features: TypeAlias = NDArray[np.float32]
"""float32 [n, n_dimensions], a row an image."""


class BaselineModel(Protocol):
    """A fitted baseline."""

    @property
    def n_bits(self) -> int:
        """Bits of a code."""

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)], of features, float32 [n, n_dimensions].

        A row's code does not depend on the other rows, so features may come in blocks.
        """
        ...


Fit: TypeAlias = Callable[[Features, NDArray[Any] | None, int, int], BaselineModel]
"""``fit(features, labels, n_bits, seed)``: features and labels (int [n]) of training images."""


@dataclasses.dataclass(frozen=True, eq=False)
class LinearHash:
    """Bit j is 1 on the positive side of a hyperplane through the mean of the training features.

    Attributes
    ----------
    mean
        float32 [n_dimensions].
    directions
        float32 [n_dimensions, n_bits], the hyperplanes' normals.
    """

    mean: Features
    directions: Features

    @property
    def n_bits(self) -> int:
        """Bits of a code."""
        return int(self.directions.shape[1])

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_bits / 8)]."""
        return binarize((features - self.mean) @ self.directions)


def check_features(features: NDArray[Any]) -> Features:
    """Features as float32, if a baseline can be fitted on them.

    Raises
    ------
    ConfigError
        If they are not finite numbers [n, n_dimensions] of two rows or more.
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < 2 or not features.shape[1]:
        raise ConfigError(
            "a baseline needs training features [n, n_dimensions] of two images or more, "
            f"found shape {list(features.shape)}"
        )
    if not np.issubdtype(features.dtype, np.floating):
        raise ConfigError(f"training features must be floating point, not {features.dtype}")
    if not np.isfinite(features).all():
        raise ConfigError("training features must be finite; some are NaN or infinite")
    return features.astype(np.float32, copy=False)
