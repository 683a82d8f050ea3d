"""Convolutions of an EfficientNet-Lite network that include their batch normalisation.

The arithmetic is element by element in float64, so the weights are the same to the last bit on
every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.runtimes.lite_weights import LiteVariant

__all__ = ["convolutions", "folded"]

_WEIGHT: Final = ".weight"
_STEM: Final = "_conv_stem"
_NORMS: Final = {
    _STEM: "_bn0",
    "_conv_head": "_bn1",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
}
"""The batch normalisation behind each convolution, by the ends of their names."""


def convolutions(weights: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Names of all convolutions, in the order of the weights."""
    for name in weights:
        convolution = name.removesuffix(_WEIGHT)
        if convolution != name and convolution.rpartition(".")[2] in _NORMS:
            yield convolution


def folded(
    variant: LiteVariant, weights: Mapping[str, NDArray[Any]], name: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [n_out, n_in, height, width] and bias [n_out] of a convolution.

    The first one includes the division by the standard deviation of the pixels, a power of two.

    Parameters
    ----------
    variant, weights
        The network, and its weights by their names in the package.
    name
        Name of the convolution, such as ``_blocks.0._project_conv``.
    """
    block, dot, convolution = name.rpartition(".")
    norm = f"{block}{dot}{_NORMS[convolution]}"

    def norm_of(part: str) -> NDArray[np.float64]:
        return weights[f"{norm}.{part}"].astype(np.float64)

    factor = norm_of("weight") / np.sqrt(norm_of("running_var") + variant.batch_norm_epsilon)
    scale = 1 / variant.std if convolution == _STEM else 1.0
    weight = weights[f"{name}{_WEIGHT}"] * (factor * scale)[:, None, None, None]
    bias = norm_of("bias") - norm_of("running_mean") * factor
    return np.ascontiguousarray(weight, np.float32), bias.astype(np.float32)
