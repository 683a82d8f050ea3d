"""Heads: from features to logits, in NumPy.

A head is stored as the tensors that `hashkit.training.model.HashModel` has for it, so that heads
that are fitted here and heads that torch trains are exported by one way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CheckpointError

__all__ = ["Affine", "Cosine", "Head", "Layer", "Relu", "head_from_tensors"]

Tensors = Mapping[str, NDArray[np.float32]]

_EPSILON: Final = 1e-5
"""What batch normalisation adds to the variance."""


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """``x @ weight + bias``: float32 [n_in, n_out] and [n_out]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs, float32 [n, n_out]."""
        outputs: NDArray[np.float32] = values @ self.weight + self.bias
        return outputs


@dataclasses.dataclass(frozen=True)
class Relu:
    """``max(x, 0)``."""

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of the same shape."""
        return np.maximum(values, np.float32(0))


@dataclasses.dataclass(frozen=True)
class Cosine:
    """``cos(x)``, of spectral hashing."""

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of the same shape."""
        cosines: NDArray[np.float32] = np.cos(values)
        return cosines


Layer = Affine | Relu | Cosine


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """Layers that are applied one after another: float32 [n, n_features] -> [n, n_bits]."""

    layers: tuple[Layer, ...]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of features."""
        values = features
        for layer in self.layers:
            values = layer(values)
        return values

    @property
    def n_features(self) -> int:
        """Numbers per image that it takes."""
        return int(self._affine()[0].weight.shape[0])

    @property
    def n_bits(self) -> int:
        """Logits per image that it gives."""
        return int(self._affine()[-1].weight.shape[1])

    def _affine(self) -> list[Affine]:
        return [layer for layer in self.layers if isinstance(layer, Affine)]


def head_from_tensors(tensors: Tensors, *, has_cosine: bool = False) -> Head:
    """The head of a checkpoint's tensors, for one code length.

    Parameters
    ----------
    tensors
        ``mean`` and ``std`` [n_features] of the features; ``heads.0.hidden.weight`` and ``.bias``
        with ``heads.0.norm.*`` for a hidden layer; ``heads.0.linear.weight`` [n_bits, n_in] and
        ``.bias``; and ``standardise.0.*`` if logits are standardised. Normalisations are merged
        into the layer before or after them, in float64.
    has_cosine
        Whether the last step is a cosine.

    Raises
    ------
    CheckpointError
        If a tensor is missing, or their shapes do not fit.
    """
    try:
        layers: list[Layer] = []
        mean, scale = _double(tensors["mean"]), 1 / _double(tensors["std"])
        if "heads.0.hidden.weight" in tensors:
            weight, bias = _linear(tensors, "heads.0.hidden", mean, scale)
            weight, bias = _normalised(tensors, "heads.0.norm", weight, bias)
            layers += [_affine(weight, bias), Relu()]
            n_hidden = len(bias)
            mean, scale = np.zeros(n_hidden), np.ones(n_hidden)
        weight, bias = _linear(tensors, "heads.0.linear", mean, scale)
        weight, bias = _normalised(tensors, "standardise.0", weight, bias)
        layers.append(_affine(weight, bias))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"expected the tensors of a head on features: {error}") from None
    return Head((*layers, Cosine()) if has_cosine else tuple(layers))


def _double(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)


def _linear(
    tensors: Tensors, name: str, mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight [n_in, n_out] and bias of a layer whose input is ``(x - mean) * scale``."""
    weight = _double(tensors[f"{name}.weight"]).T * scale[:, None]
    return weight, _double(tensors[f"{name}.bias"]) - mean @ weight


def _normalised(
    tensors: Tensors, name: str, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer merged with the batch normalisation behind it, if there is one."""
    if f"{name}.running_mean" not in tensors:
        return weight, bias
    factor = 1 / np.sqrt(_double(tensors[f"{name}.running_var"]) + _EPSILON)
    shift = -_double(tensors[f"{name}.running_mean"])
    if f"{name}.weight" not in tensors:
        return weight * factor, (bias + shift) * factor
    factor = factor * _double(tensors[f"{name}.weight"])
    return weight * factor, (bias + shift) * factor + _double(tensors[f"{name}.bias"])


def _affine(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Affine:
    return Affine(weight.astype(np.float32), bias.astype(np.float32))
