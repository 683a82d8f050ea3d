"""The graph of an EfficientNet-Lite network: pixels to features, in ONNX.

Batch normalisation is part of the convolutions' weights, computed in float64, and so is the
division by the standard deviation of the pixels, a power of two. The mean is subtracted before the
first convolution, because padding adds zeros to normalised pixels. Strided convolutions use
TensorFlow's ``SAME`` padding, which depends on the input's size and pads more at the bottom and the
right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hashkit.features.embedder import FEATURE, IMAGE
from hashkit.features.lite.weights import LiteVariant

__all__ = ["lite_graph"]

_OPSET: Final = 17
_IR_VERSION: Final = 8
_STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""Stride of the first block of each stage; the other blocks have stride 1."""

_Weights: TypeAlias = Mapping[str, NDArray[Any]]


def lite_graph(variant: LiteVariant, weights: _Weights, size: tuple[int, int]) -> tuple[bytes, int]:
    """Serialised graph: ``image``, uint8 [N, H, W, 3] -> ``feature``, float32 [N, n_features].

    Parameters
    ----------
    variant
        The network.
    weights
        Its weights by their names in the package.
    size
        Input size as (height, width), pixels.

    Returns
    -------
    tuple
        The graph, and the number of features.
    """
    network = _Network(variant, weights, size)
    network.pixels()
    network.convolution("_conv_stem", "_bn0", stride=2, scale=1 / variant.std)
    number = 0
    for n_blocks, stride in zip(variant.blocks, _STRIDES, strict=True):
        for index in range(n_blocks):
            network.block(f"_blocks.{number}.", stride if index == 0 else 1)
            number += 1
    network.convolution("_conv_head", "_bn1")
    return network.finished(), network.n_channels


class _Network:
    """A graph that grows at its end, whose current tensor is [N, n_channels, height, width]."""

    def __init__(self, variant: LiteVariant, weights: _Weights, size: tuple[int, int]) -> None:
        self._variant, self._weights = variant, weights
        self._input_size = self._size = size
        self.n_channels = 3
        self._nodes: list[onnx.NodeProto] = []
        self._constants = [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in (("pixel_mean", variant.mean), ("zero", 0), ("six", 6))
        ]
        self._tensor = IMAGE

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        node = helper.make_node(operator, inputs, [output], name=f"{output}/{operator}")
        node.attribute.extend(helper.make_attribute(key, attributes[key]) for key in attributes)
        self._nodes.append(node)
        self._tensor = output

    def pixels(self) -> None:
        """Pixels [N, H, W, 3] to values around zero, [N, 3, H, W]."""
        self._node("Transpose", [IMAGE], "planes", perm=[0, 3, 1, 2])
        self._node("Cast", ["planes"], "values", to=TensorProto.FLOAT)
        self._node("Sub", ["values", "pixel_mean"], "centred")

    def convolution(
        self, name: str, norm: str, *, stride: int = 1, scale: float = 1.0, relu6: bool = True
    ) -> None:
        """A convolution without bias, its batch normalisation, and ReLU6."""
        weight, bias = self._folded(name, norm, scale)
        n_channels, n_inputs, *kernel = weight.shape
        pads, size = _same_padding(self._size, kernel, stride)
        self._constants.append(numpy_helper.from_array(weight, f"{name}.weight"))
        self._constants.append(numpy_helper.from_array(bias, f"{name}.bias"))
        self._node(
            "Conv",
            [self._tensor, f"{name}.weight", f"{name}.bias"],
            name,
            group=self.n_channels // n_inputs,
            kernel_shape=list(kernel),
            pads=pads,
            strides=[stride, stride],
        )
        if relu6:
            self._node("Clip", [name, "zero", "six"], f"{name}.relu6")
        self.n_channels, self._size = n_channels, size

    def block(self, prefix: str, stride: int) -> None:
        """An inverted residual block: expansion, a depthwise convolution, projection."""
        before, n_before = self._tensor, self.n_channels
        if f"{prefix}_expand_conv.weight" in self._weights:
            self.convolution(f"{prefix}_expand_conv", f"{prefix}_bn0")
        self.convolution(f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride)
        self.convolution(f"{prefix}_project_conv", f"{prefix}_bn2", relu6=False)
        if stride == 1 and self.n_channels == n_before:
            self._node("Add", [self._tensor, before], f"{prefix}sum")

    def _folded(
        self, name: str, norm: str, scale: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights and bias of a convolution that includes its batch normalisation."""

        def norm_of(part: str) -> NDArray[np.float64]:
            return self._weights[f"{norm}.{part}"].astype(np.float64)

        factor = norm_of("weight") / np.sqrt(
            norm_of("running_var") + self._variant.batch_norm_epsilon
        )
        weight = self._weights[f"{name}.weight"] * (factor * scale)[:, None, None, None]
        bias = norm_of("bias") - norm_of("running_mean") * factor
        return np.ascontiguousarray(weight, np.float32), bias.astype(np.float32)

    def finished(self) -> bytes:
        """The serialised graph, whose output is the current tensor averaged over the image."""
        self._node("GlobalAveragePool", [self._tensor], "average")
        self._node("Flatten", ["average"], FEATURE, axis=1)
        image: list[str | int | None] = ["N", *self._input_size, 3]
        graph = helper.make_graph(
            self._nodes,
            self._variant.name,
            [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, image)],
            [helper.make_tensor_value_info(FEATURE, TensorProto.FLOAT, ["N", self.n_channels])],
            self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="hashkit",
            ir_version=_IR_VERSION,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _same_padding(
    size: tuple[int, int], kernel: list[int], stride: int
) -> tuple[list[int], tuple[int, int]]:
    """TensorFlow's padding and the output's size: ceil(size / stride) in each dimension.

    The padding is (top, left, bottom, right); of an odd number, bottom and right get one more.
    """
    outputs = [-(-n // stride) for n in size]
    totals = [
        max((n_out - 1) * stride + k - n, 0)
        for n_out, k, n in zip(outputs, kernel, size, strict=True)
    ]
    before = [total // 2 for total in totals]
    after = [total - first for total, first in zip(totals, before, strict=True)]
    return [*before, *after], (outputs[0], outputs[1])
