"""Heads: from features to logits, in NumPy.

A head is stored as the tensors that `hashkit.training.model.HashModel` has for it, so that heads
fitted here and heads trained by torch are exported in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import CheckpointError

__all__ = ["Affine", "Cosine", "Head", "Layer", "Relu", "head_from_tensors"]

Tensors = Mapping[str, NDArray[np.float32]]
Floats = TypeVar("Floats", np.float32, np.float64)
"""A head computes in the type of its features; its weights are float32."""

_EPSILON: Final = 1e-5
"""What batch normalisation adds to the variance."""

_EXPECTED: Final = "expected the tensors of a head on features"
_REMEDY: Final = "train a new run"


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """``x @ weight + bias``: float32 [n_in, n_out] and [n_out]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, values: NDArray[Floats]) -> NDArray[Floats]:
        """Outputs [n, n_out]."""
        outputs: NDArray[Floats] = values @ self.weight + self.bias
        return outputs


@dataclasses.dataclass(frozen=True)
class Relu:
    """``max(x, 0)``."""

    def __call__(self, values: NDArray[Floats]) -> NDArray[Floats]:
        """Outputs of the same shape."""
        positive: NDArray[Floats] = np.maximum(values, np.float32(0))
        return positive


@dataclasses.dataclass(frozen=True)
class Cosine:
    """``cos(x)``, of spectral hashing."""

    def __call__(self, values: NDArray[Floats]) -> NDArray[Floats]:
        """Outputs of the same shape."""
        cosines: NDArray[Floats] = np.cos(values)
        return cosines


Layer = Affine | Relu | Cosine


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """Layers that are applied one after another: floating [n, n_features] -> [n, n_bits]."""

    layers: tuple[Layer, ...]

    def __call__(self, features: NDArray[Floats]) -> NDArray[Floats]:
        """Logits of features, in their type."""
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
        If a tensor is missing, is of another type or shape, or if weights are not finite.
    """
    layers: list[Layer] = []
    mean, std = _vector(tensors, "mean"), _vector(tensors, "std")
    _check_shape("std", std, mean.shape)
    # Values that are not finite are found at the end of each layer.
    with np.errstate(all="ignore"):
        scale = 1 / std
        if "heads.0.hidden.weight" in tensors:
            weight, bias = _linear(tensors, "heads.0.hidden", mean, scale)
            weight, bias = _normalised(tensors, "heads.0.norm", weight, bias)
            layers += [_affine("heads.0.hidden", weight, bias), Relu()]
            n_hidden = len(bias)
            mean, scale = np.zeros(n_hidden), np.ones(n_hidden)
        weight, bias = _linear(tensors, "heads.0.linear", mean, scale)
        weight, bias = _normalised(tensors, "standardise.0", weight, bias)
        layers.append(_affine("heads.0.linear", weight, bias))
    return Head((*layers, Cosine()) if has_cosine else tuple(layers))


def _double(tensors: Tensors, name: str) -> NDArray[np.float64]:
    if name not in tensors:
        raise CheckpointError(f"{_EXPECTED}, found no {name}: {_REMEDY}")
    values = tensors[name]
    if values.dtype.kind != "f":
        raise CheckpointError(f"{_EXPECTED}, found {name} of {values.dtype}: {_REMEDY}")
    return np.asarray(values, dtype=np.float64)


def _vector(tensors: Tensors, name: str) -> NDArray[np.float64]:
    values = _double(tensors, name)
    _check_shape(name, values, (values.size or 1,))
    return values


def _check_shape(name: str, values: NDArray[np.float64], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise CheckpointError(
            f"{_EXPECTED}, {name} {list(shape)}, found it {list(values.shape)}: {_REMEDY}"
        )


def _linear(
    tensors: Tensors, name: str, mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight [n_in, n_out] and bias of a layer whose input is ``(x - mean) * scale``."""
    bias = _vector(tensors, f"{name}.bias")
    weight = _double(tensors, f"{name}.weight")
    _check_shape(f"{name}.weight", weight, (len(bias), len(mean)))
    weight = weight.T * scale[:, None]
    return weight, bias - mean @ weight


def _normalised(
    tensors: Tensors, name: str, weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer merged with the batch normalisation behind it, if there is one."""
    if f"{name}.running_mean" not in tensors:
        return weight, bias
    parts = ["running_mean", "running_var"]
    if f"{name}.weight" in tensors:
        parts += ["weight", "bias"]
    layer = {part: _double(tensors, f"{name}.{part}") for part in parts}
    for part, values in layer.items():
        _check_shape(f"{name}.{part}", values, bias.shape)
    factor = layer.get("weight", 1) / np.sqrt(layer["running_var"] + _EPSILON)
    return weight * factor, (bias - layer["running_mean"]) * factor + layer.get("bias", 0)


def _affine(name: str, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Affine:
    layer = Affine(weight.astype(np.float32), bias.astype(np.float32))
    if not (np.isfinite(layer.weight).all() and np.isfinite(layer.bias).all()):
        raise CheckpointError(f"{_EXPECTED}, found NaN or infinite weights in {name}: {_REMEDY}")
    return layer
