"""Wraps an ONNX file of any origin as an embedder: pixels in, one vector of features out.

The graph gets what its owner computes in Python: normalisation and layout in front, pooling behind.
It is tried on pictures before it is used (`hashkit.features.trial`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hashkit.errors import ModelError
from hashkit.features.batch_axis import with_free_batch
from hashkit.features.embedder import FEATURE, IMAGE, Embedder
from hashkit.features.foreign_onnx import read_foreign
from hashkit.features.foreign_output import find_output
from hashkit.features.graph_parts import names_read, real_inputs, upstream
from hashkit.features.image_input import find_image_input, input_size
from hashkit.features.pooling import find_pooling, pooling_nodes
from hashkit.features.preprocessing import find_preprocessing
from hashkit.features.trial import TrialInput, check_features, open_graph, pictures, run_graph
from hashkit.features.wrapped_graph import FLOAT_OUTPUT, WrappedGraph
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
    model, producer = foreign.model, foreign.producer
    output = find_output(model.graph, settings.output, path)
    nodes = upstream(model.graph.node, output)
    needed = names_read(nodes)
    inputs = [value for value in real_inputs(model.graph) if value.name in needed]
    image = find_image_input(inputs, settings.layout, output, path)
    preprocessing = find_preprocessing(path, settings)
    sizes = {
        layout: input_size(sides, size, preprocessing.size, path)
        for layout, sides in image.sides.items()
    }
    if image.batch is not None:
        layout, one_size = next(iter(sizes.items()))
        sample = image.sample(layout, one_size, path)
        nodes = with_free_batch(model, nodes, image.name, sample, path)
    wrapped = WrappedGraph(model, nodes, image, output, preprocessing)
    layout, shape = _find_layout(wrapped, sizes, path)
    pooling = find_pooling(shape, settings.pooling, sizes[layout], output, path)
    graph = wrapped.finished(
        layout, sizes[layout], pooling_nodes(pooling, FLOAT_OUTPUT, FEATURE), pooling.n_features
    )
    check_is_whole(Message(graph, 0, len(graph)), path)
    tried = TrialInput(path, sizes[layout], image.is_half, image.batch)
    check_features(open_graph(graph, path), pooling.n_features, tried)
    return Embedder(
        name=path.name,
        graph=graph,
        height=sizes[layout][0],
        width=sizes[layout][1],
        resize=preprocessing.resize,
        n_features=pooling.n_features,
        facts={
            "source": path.name,
            "source_sha256": foreign.sha256,
            "external_data": dict(foreign.external),
            "producer": producer,
            "input": image.name,
            "layout": layout,
            "precision": "fp16" if image.is_half else "fp32",
            "fixed_batch": image.batch,
            "output": output,
            "pooling": pooling.kind,
            **preprocessing.facts(sizes[layout]),
        },
    )


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
