"""Turns a graph that was exported for one number of images into one that takes any.

Exporters write the number of images into the shapes of ``Reshape``, and repeat a class token that
often. Both are replaced here where that is possible. The caller has to try whether the result is
right, as a graph may do anything with its first axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from hashkit.features.foreign.trial import open_graph, run_graph

__all__ = ["constant", "with_free_batch"]


def constant(name: str, value: object, dtype: type = np.float32) -> onnx.NodeProto:
    """A node that holds a constant."""
    tensor = numpy_helper.from_array(np.asarray(value, dtype), name)
    return helper.make_node("Constant", [], [name], name=name, value=tensor)


def with_free_batch(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    image: str,
    images: NDArray[Any],
    path: Path,
) -> list[onnx.NodeProto]:
    """Nodes with shapes that follow the number of images.

    Parameters
    ----------
    model
        The model, whose input has a fixed first axis; unchanged.
    nodes
        Its nodes that compute the features, in their order.
    image
        Name of that input.
    images
        A value of this input.
    path
        The file, for messages.

    Raises
    ------
    ModelError
        If the network does not run on these images.
    """
    shapes = _shapes(model, nodes, image, images, path)
    of_images = _downstream(nodes, image)
    count = f"{image}/count"
    changed: list[onnx.NodeProto] = []
    for node in nodes:
        if node.op_type == "Reshape" and node.input[0] in of_images:
            changed += _reshaped(node, shapes)
        elif node.op_type == "Concat" and not of_images.isdisjoint(node.input):
            changed += _repeated(node, shapes, of_images, count)
        else:
            changed.append(node)
    return [*_count_nodes(image, count), *changed]


def _count_nodes(image: str, count: str) -> list[onnx.NodeProto]:
    """The number of images as int64 [1]."""
    return [
        helper.make_node("Shape", [image], [f"{count}/shape"]),
        constant(f"{count}/axis", [0], np.int64),
        helper.make_node("Gather", [f"{count}/shape", f"{count}/axis"], [count]),
    ]


def _reshaped(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> list[onnx.NodeProto]:
    """A Reshape whose first side is inferred, if the others are known."""
    shape = shapes[node.output[0]]
    if not shape or 0 in shape:
        return [node]
    name = f"{node.output[0]}/free_shape"
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[1] = name
    return [constant(name, [-1, *shape[1:]], np.int64), copy]


def _repeated(
    node: onnx.NodeProto, shapes: Mapping[str, list[int]], of_images: set[str], count: str
) -> list[onnx.NodeProto]:
    """A Concat that repeats its constants, such as a class token, for every image."""
    sides = shapes[node.output[0]]
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    if len(sides) < 2 or axis % len(sides) == 0:  # joins single numbers, or images
        return [node]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    added: list[onnx.NodeProto] = []
    for at, name in enumerate(node.input):
        if name in of_images:
            continue
        prefix = f"{node.output[0]}/{at}"
        added += [
            constant(f"{prefix}/ones", [1] * (len(sides) - 1), np.int64),
            helper.make_node("Concat", [count, f"{prefix}/ones"], [f"{prefix}/shape"], axis=0),
            helper.make_node("Expand", [name, f"{prefix}/shape"], [f"{prefix}/repeated"]),
        ]
        copy.input[at] = f"{prefix}/repeated"
    return [*added, copy]


def _downstream(nodes: Iterable[onnx.NodeProto], image: str) -> set[str]:
    """Names of the tensors that depend on the images; nodes are in topological order."""
    found = {image}
    for node in nodes:
        if not found.isdisjoint(node.input):
            found.update(name for name in node.output if name)
    return found


def _shapes(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    image: str,
    images: NDArray[Any],
    path: Path,
) -> dict[str, list[int]]:
    """Shapes of the outputs of every Reshape and Concat, as they are for some images.

    They are measured, as shape inference does not follow computed shapes.
    """
    names = [
        name
        for node in nodes
        if node.op_type in ("Reshape", "Concat")
        for name in node.output
        if name
    ]
    if not names:
        return {}
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_graph(model.SerializeToString(), path)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    found = run_graph(session, {image: images}, path)
    return {name: list(value.shape) for name, value in zip(names, found, strict=True)}
