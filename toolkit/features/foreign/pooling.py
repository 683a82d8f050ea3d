"""Turns the output of a network, a vector, tokens or feature maps, into one vector per image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper

from hashkit.errors import ConfigError, ModelError
from hashkit.features.foreign.batch_axis import constant

__all__ = ["Pooling", "find_pooling", "pooling_nodes"]

_CHANNELS_FIRST: Final = "mean over positions [N, C, h, w]"
_CHANNELS_LAST: Final = "mean over positions [N, h, w, C]"
_MEAN: Final = "mean over tokens"


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How an output becomes features.

    Attributes
    ----------
    kind
        ``none``, ``class-token``, or a mean, in words.
    n_features
        Numbers per image.
    """

    kind: str
    n_features: int


def find_pooling(
    shape: Sequence[int], setting: str, size: tuple[int, int], name: str, path: Path
) -> Pooling:
    """Pooling for an output.

    Parameters
    ----------
    shape
        Shape of the output for several images: [N, D], [N, T, D], [N, C, h, w] or [N, h, w, C].
    setting
        A name of `hashkit.runs.embedder_settings.POOLINGS`.
    size
        (height, width) of the images, pixels.
    name, path
        Name of the output, and the file, for messages.

    Raises
    ------
    ConfigError
        If the setting does not fit the output, or tokens need a choice.
    ModelError
        If the output has another shape.
    """
    found = f"the output {name} of {list(shape[1:])} per image"
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise ModelError(
            f"{path}: expected features [N, D], tokens [N, T, D] or feature maps [N, C, h, w], "
            f"found {found}: choose another `output`"
        )
    if len(shape) == 3:
        return _of_tokens(shape, setting, found, path)
    if setting == "class-token" or (setting == "mean" and len(shape) == 2):
        raise ConfigError(
            f'{path}: expected tokens [N, T, D] for `pooling="{setting}"`, found {found}: leave '
            "`pooling` out, or choose another `output`"
        )
    if len(shape) == 2:
        return Pooling("none", shape[1])
    if setting == "none":
        raise _not_a_vector(found, "mean", path)
    kinds = {_CHANNELS_FIRST: (shape[2:], shape[1]), _CHANNELS_LAST: (shape[1:3], shape[3])}
    fitting = [Pooling(kind, n) for kind, (sides, n) in kinds.items() if _is_like(sides, size)]
    if len(fitting) != 1:
        raise ModelError(
            f"{path}: expected feature maps [N, C, h, w] or [N, h, w, C] with h x w like the "
            f"image's {size[0]} x {size[1]}, found {found}: export the network with its pooling"
        )
    return fitting[0]


def pooling_nodes(pooling: Pooling, source: str, target: str) -> list[onnx.NodeProto]:
    """Nodes from an output to features, both float32, with operators of every opset from 9."""
    if pooling.kind == "none":
        return [helper.make_node("Identity", [source], [target])]
    if pooling.kind == "class-token":
        return [
            constant("pooling/first", 0, np.int64),
            helper.make_node("Gather", [source, "pooling/first"], [target], axis=1),
        ]
    axes = {_MEAN: (0, 2, 1), _CHANNELS_LAST: (0, 3, 1, 2)}.get(pooling.kind)
    nodes = []
    if axes is not None:
        nodes.append(helper.make_node("Transpose", [source], ["pooling/maps"], perm=axes))
        source = "pooling/maps"
    # Unlike ReduceMean, these have the same form in all opsets.
    return [
        *nodes,
        helper.make_node("GlobalAveragePool", [source], ["pooling/means"]),
        helper.make_node("Flatten", ["pooling/means"], [target], axis=1),
    ]


def _of_tokens(shape: Sequence[int], setting: str, found: str, path: Path) -> Pooling:
    if setting == "auto" and shape[1] == 1:
        setting = "class-token"  # the only token
    if setting == "auto":
        raise ConfigError(
            f"{path}: expected one vector per image, found {found}, which are tokens: set "
            '`pooling="class-token"` for the first of them, or `pooling="mean"` for their mean'
        )
    if setting == "none":
        raise _not_a_vector(found, "class-token", path)
    return Pooling(_MEAN if setting == "mean" else setting, shape[2])


def _not_a_vector(found: str, other: str, path: Path) -> ConfigError:
    return ConfigError(
        f'{path}: expected one vector per image for `pooling="none"`, found {found}: set '
        f'`pooling="{other}"`, or choose another `output`'
    )


def _is_like(sides: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether feature maps have the image's shape, up to rounding and padding."""
    (h, w), (height, width) = sides, size
    return h <= height and w <= width and abs(h * width - w * height) < max(height, width)
