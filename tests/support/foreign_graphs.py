"""Small ONNX networks as other programs export them, and their expected features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from hashkit.errors import HashkitError
from hashkit.features.foreign.onnx_embedder import wrap_onnx
from hashkit.runs.embedder_settings import EmbedderSettings

__all__ = [
    "FILTERS",
    "IMAGENET",
    "foreign_graph",
    "node",
    "normalised",
    "patches",
    "pooled_network",
    "refused",
    "saved",
    "token_network",
    "two_towers",
]

FILTERS = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
"""Weights of the convolution of `pooled_network`, [5, 3, 4, 4], which has stride 4."""

IMAGENET = EmbedderSettings(preprocessing="imagenet")
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
) -> NodeProto:
    """A node of ONNX's own operators."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def foreign_graph(
    nodes: Sequence[NodeProto],
    weights: Mapping[str, Any],
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    outputs: Mapping[str, tuple[int, Sequence[Any]]],
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of nodes, weights, and inputs and outputs as (type, shape) by name."""
    values = [
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in some.items()]
        for some in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "foreign", *values, tensors)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=8, producer_name="else", doc_string="a note"
    )


def pooled_network(
    shape: Sequence[Any] = ("N", 3, 16, 16), kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """A convolution of 4 x 4 pixels, ReLU, and the mean over positions: [N, 3, H, W] -> [N, 5]."""
    weights = FILTERS.astype(np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    nodes = [
        node("Conv", ["image", "weights"], ["maps"], strides=[4, 4]),
        node("Relu", ["maps"], ["active"]),
        node("GlobalAveragePool", ["active"], ["means"]),
        node("Flatten", ["means"], ["feature"]),
    ]
    return foreign_graph(
        nodes, {"weights": weights}, {"image": (kind, shape)}, {"feature": (kind, [shape[0], 5])}
    )


def normalised(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Images [n, H, W, 3], normalised for networks trained on ImageNet, float64 [n, 3, H, W]."""
    return ((images / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2)


def patches(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The feature maps of `pooled_network`, [n, 5, h, w], with plain loops."""
    planes = normalised(images)
    h, w = planes.shape[2] // 4, planes.shape[3] // 4
    maps = np.empty((len(images), 5, h, w))
    for y in range(h):
        for x in range(w):
            patch = planes[:, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
            maps[:, :, y, x] = np.einsum("ncij,kcij->nk", patch, FILTERS.astype(np.float64))
    return np.maximum(maps, 0)


def token_network(batch: int | str = "N") -> onnx.ModelProto:
    """Patches as tokens [N, 17, 5] behind a class token, as a vision transformer has them."""
    nodes = [
        node("Conv", ["image", "weights"], ["maps"], strides=[4, 4]),
        node("Relu", ["maps"], ["active"]),
        node("Reshape", ["active", "shape"], ["rows"]),
        node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
    ]
    weights: dict[str, Any] = {"weights": FILTERS, "class": np.full((1, 1, 5), 0.5, np.float32)}
    if batch == "N":
        weights["shape"] = np.array([0, 5, 16])
        nodes += [
            node("ReduceMean", ["patches"], ["token"], axes=[1], keepdims=1),
            node("Add", ["token", "class"], ["first"]),
        ]
    else:
        weights["shape"] = np.array([batch, 5, -1])
        nodes.append(node("Identity", ["class"], ["first"]))
    nodes.append(node("Concat", ["first", "patches"], ["tokens"], axis=1))
    return foreign_graph(
        nodes,
        weights,
        {"image": (TensorProto.FLOAT, [batch, 3, 16, 16])},
        {"tokens": (TensorProto.FLOAT, [batch, 17, 5])},
    )


def two_towers() -> onnx.ModelProto:
    """Images and text to one output each, as CLIP is exported."""
    model = pooled_network()
    model.graph.input.append(
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", 7])
    )
    model.graph.node.extend(
        [
            node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
            node("MatMul", ["floats", "words"], ["text"]),
            node("MatMul", ["text", "feature"], ["both"]),
        ]
    )
    words = np.ones((7, 5), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(words, "words"))
    model.graph.output.append(helper.make_tensor_value_info("text", TensorProto.FLOAT, ["N", 5]))
    return model


def refused(
    error: type[HashkitError],
    model: onnx.ModelProto | Path,
    folder: Path,
    settings: EmbedderSettings = IMAGENET,
    size: tuple[int, int] | None = None,
) -> str:
    """The message of the error that wrapping a model gives: one line that begins with the file."""
    path = model if isinstance(model, Path) else saved(model, folder)
    with pytest.raises(error) as caught:
        wrap_onnx(path, settings, size)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(folder))
    return text


def saved(model: onnx.ModelProto, folder: Path, name: str = "foreign.onnx") -> Path:
    """Path of a model, written to a folder."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
