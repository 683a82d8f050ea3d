"""Wraps an ONNX file of any origin as an embedder: pixels in, one vector of features out.

The graph gets what its owner computes in Python: normalisation and layout in front, pooling behind.
It is tried on pictures before it is used (`hashkit.features.foreign.trial`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from hashkit.errors import ModelError
from hashkit.features.embedder import FEATURE, IMAGE, Embedder
from hashkit.features.foreign.batch_axis import with_free_batch
from hashkit.features.foreign.foreign_onnx import ForeignModel, read_foreign
from hashkit.features.foreign.foreign_output import find_output
from hashkit.features.foreign.graph_parts import names_read, other_domains, real_inputs, upstream
from hashkit.features.foreign.image_input import ImageInput, find_image_input, input_size
from hashkit.features.foreign.pooling import Pooling, find_pooling, pooling_nodes
from hashkit.features.foreign.preprocessing import find_preprocessing
from hashkit.features.foreign.trial import (
    TrialInput,
    check_features,
    open_graph,
    pictures,
    run_graph,
)
from hashkit.features.foreign.wrapped_graph import FLOAT_OUTPUT, WrappedGraph
from hashkit.runs.embedder_settings import EmbedderSettings
from hashkit.runtimes.own_weights import check_is_whole
from hashkit.runtimes.protobuf import Message

__all__ = ["wrap_onnx"]

_N_TRIED: Final = 2
"""Images of the run that finds the output's shape: more than one, to see the batch."""


def wrap_onnx(path: Path, settings: EmbedderSettings, size: tuple[int, int] | None) -> Embedder:
    """An embedder of an ONNX file.

    Parameters
    ----------
    path
        The file. External weights, and ``preprocessor_config.json``, lie in its folder.
    settings
        How it is wrapped.
    size
        Input size as (height, width), pixels; None for that of the graph or the preprocessing.

    Raises
    ------
    ModelError
        If the file cannot be used.
    ConfigError
        If a setting is missing, or does not fit the file.
    """
    foreign = read_foreign(path)
    part = _image_part(foreign, settings)
    preprocessing = find_preprocessing(path, settings)
    sizes = {
        layout: input_size(sides, size, preprocessing.size, path)
        for layout, sides in part.image.sides.items()
    }
    nodes = _for_any_batch(foreign, part, sizes)
    wrapped = WrappedGraph(foreign.model, nodes, part.image, part.output, preprocessing)
    layout, shape = _find_layout(wrapped, sizes, path)
    height, width = sizes[layout]
    pooling = find_pooling(shape, settings.pooling, sizes[layout], part.output, path)
    return Embedder(
        name=path.name,
        graph=_checked_graph(wrapped, layout, sizes[layout], pooling, path),
        height=height,
        width=width,
        resize=preprocessing.resize,
        n_features=pooling.n_features,
        facts={
            **_facts(foreign, part),
            "layout": layout,
            "pooling": pooling.kind,
            **preprocessing.facts(sizes[layout]),
        },
    )


@dataclasses.dataclass(frozen=True)
class _Part:
    """The nodes of a model that compute the features of images; names as in the file."""

    nodes: Sequence[onnx.NodeProto]
    image: ImageInput
    output: str


def _image_part(foreign: ForeignModel, settings: EmbedderSettings) -> _Part:
    graph, path = foreign.model.graph, foreign.path
    output = find_output(graph, settings.output, path)
    nodes = upstream(graph.node, output)
    needed = names_read(nodes)
    inputs = [value for value in real_inputs(graph) if value.name in needed]
    return _Part(nodes, find_image_input(inputs, settings.layout, output, path), output)


def _for_any_batch(
    foreign: ForeignModel, part: _Part, sizes: Mapping[str, tuple[int, int]]
) -> Sequence[onnx.NodeProto]:
    """The nodes, changed so that they take any number of images if they took a fixed one."""
    if part.image.batch is None:
        return part.nodes
    layout, size = next(iter(sizes.items()))
    sample = part.image.sample(layout, size, foreign.path)
    return with_free_batch(foreign.model, part.nodes, part.image.name, sample, foreign.path)


def _facts(foreign: ForeignModel, part: _Part) -> dict[str, Any]:
    """What is known about the file, as JSON-ready values."""
    return {
        "source": foreign.path.name,
        "source_sha256": foreign.sha256,
        "external_data": dict(foreign.external),
        "producer": foreign.producer,
        "other_operators": other_domains(part.nodes),
        "input": part.image.name,
        "fixed_batch": part.image.batch,
        "precision": "fp16" if part.image.is_half else "fp32",
        "output": part.output,
    }


def _checked_graph(
    wrapped: WrappedGraph, layout: str, size: tuple[int, int], pooling: Pooling, path: Path
) -> bytes:
    """The graph from pixels to features, after it was tried."""
    nodes = pooling_nodes(pooling, FLOAT_OUTPUT, FEATURE)
    graph = wrapped.finished(layout, size, nodes, pooling.n_features)
    check_is_whole(Message(graph, 0, len(graph)), path)
    tried = TrialInput(path, size, wrapped.image.is_half, wrapped.image.batch)
    check_features(open_graph(graph, path), pooling.n_features, tried)
    return graph


def _find_layout(
    wrapped: WrappedGraph, sizes: Mapping[str, tuple[int, int]], path: Path
) -> tuple[str, Sequence[int]]:
    """The layout that the network runs with, and the shape of its output for several images."""
    shapes: dict[str, Sequence[int]] = {}
    faults: list[ModelError] = []
    for layout, size in sizes.items():
        try:
            shapes[layout] = _output_shape(wrapped, layout, size, path)
        except ModelError as error:
            faults.append(error)
    if not shapes:
        raise faults[0]
    if len(shapes) > 1:
        raise ModelError(
            f"{path}: expected an input of 3 channels in a known place, found a network that takes "
            f"both orders of the axes: set `layout` to {' or '.join(shapes)}"
        )
    ((layout, shape),) = shapes.items()
    return layout, shape


def _output_shape(
    wrapped: WrappedGraph, layout: str, size: tuple[int, int], path: Path
) -> Sequence[int]:
    session = open_graph(wrapped.bare(layout, size), path)
    kind = session.get_outputs()[0].type
    if kind not in ("tensor(float)", "tensor(float16)", "tensor(double)"):
        raise ModelError(
            f"{path}: expected features of a floating-point type, found the output "
            f"{wrapped.output} of {kind}: choose another `output`"
        )
    tried = TrialInput(path, size, wrapped.image.is_half, wrapped.image.batch)
    images = pictures(size)
    try:
        (found,) = run_graph(session, {IMAGE: images[:_N_TRIED]}, path)
    except ModelError as error:
        if tried.fixed_batch is None:
            raise
        # If this fails too, the fault is another one.
        repeated = images[np.arange(tried.fixed_batch) % len(images)]
        run_graph(session, {IMAGE: repeated}, path)
        raise tried.count_fault(f"it fails on {_N_TRIED} images") from error
    if found.shape[:1] != (_N_TRIED,):
        raise tried.count_fault(f"its output is {list(found.shape)} for {_N_TRIED} images")
    return found.shape
