"""Export an embedder and a head as one ONNX file that follows the contract, without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hashkit.codes import binarize, code_size
from hashkit.errors import ModelError
from hashkit.exporters.onnx_files import describe, make_folder
from hashkit.exporters.packing import contract_outputs
from hashkit.exporters.verified import ExportReport, write_verified
from hashkit.features.embedder import FEATURE, Embedder
from hashkit.features.head import Affine, Cosine, Head
from hashkit.features.session import EmbedderSession
from hashkit.manifest import PREFIX, Manifest

__all__ = ["FeatureSource", "export_features", "feature_graph"]

_FACTS: Final = f"{PREFIX}embedder"
"""Entry of the metadata with the origin, normalisation and licence of the embedder."""

_PREFIX: Final = "hashkit_head_"
"""Prefix of all names that are added, so that they differ from those of the embedder."""


class FeatureSource:
    """An embedder and a head, run one after the other: a `hashkit.exporters.parity.Source`."""

    def __init__(self, embedder: Embedder, head: Head) -> None:
        self._session = EmbedderSession(embedder, "cpu")
        self._head = head

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of images."""
        features = self._session.run(images)
        with np.errstate(over="ignore", invalid="ignore"):  # the comparison reports both
            logits = self._head(features)
        return binarize(logits), logits

    def exact(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """The head's logits in float64, from features in float32."""
        features = self._session.run(images).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return self._head(features)


def export_features(
    embedder: Embedder,
    head: Head,
    manifest: Manifest,
    path: str | Path,
    *,
    images: NDArray[np.uint8],
    progress: Callable[[str], None] | None = None,
) -> ExportReport:
    """Write embedder and head as one model, after verifying that it equals the two run separately.

    Parameters
    ----------
    embedder, head
        The parts.
    manifest
        Metadata of the file.
    path
        Name of the file; missing folders are created.
    images
        uint8 [m, H, W, 3], m > 0: real images for the verification.
    progress
        Called with a short text before each step.

    Raises
    ------
    ModelError
        If the parts do not fit together, or the graph is not valid.
    ParityError
        If the outputs differ; no file is written.
    """
    started = time.perf_counter()
    say = progress or (lambda _: None)
    target = Path(path)
    make_folder(target)
    say("joining embedder and head")
    graph = feature_graph(embedder, head, manifest)
    return write_verified(
        graph,
        FeatureSource(embedder, head),
        target,
        images,
        what="embedder and head",
        opset=next((one.version for one in graph.opset_import if not one.domain), 0),
        started=started,
        progress=say,
    )


def feature_graph(embedder: Embedder, head: Head, manifest: Manifest) -> onnx.ModelProto:
    """The graph of a model: the embedder's, followed by head, threshold and packing.

    The operators that are added exist in every version of ONNX from 9 on, so the embedder keeps
    its own.

    Raises
    ------
    ModelError
        If the parts do not fit together, or are too large for one file.
    """
    if (head.n_features, head.n_bits) != (embedder.n_features, manifest.n_bits):
        raise ModelError(
            f"expected a head from {embedder.n_features} features to {manifest.n_bits} bits, found "
            f"one from {head.n_features} to {head.n_bits}"
        )
    model = onnx.load_model_from_string(embedder.graph)
    graph = model.graph
    values = FEATURE
    for number, layer in enumerate(head.layers):
        values = _append_layer(graph, layer, values, f"{_PREFIX}{number}")
    _append(graph, "Identity", [values], "logit")
    _append_code(graph, manifest.n_bits)
    del graph.output[:]
    graph.output.extend(contract_outputs(manifest.n_bits))
    facts = {"name": embedder.name, **embedder.facts}
    describe(model, manifest.to_metadata() | {_FACTS: json.dumps(facts)}, "fp32")
    return model


def _append_layer(graph: onnx.GraphProto, layer: object, values: str, name: str) -> str:
    if isinstance(layer, Affine):
        weight = _constant(graph, layer.weight, f"{name}_weight")
        bias = _constant(graph, layer.bias, f"{name}_bias")
        product = _append(graph, "MatMul", [values, weight], f"{name}_product")
        return _append(graph, "Add", [product, bias], name)
    return _append(graph, "Cos" if isinstance(layer, Cosine) else "Relu", [values], name)


def _append_code(graph: onnx.GraphProto, n_bits: int) -> None:
    """Threshold and packing: a product with 128 .. 1 is exact in every float format."""
    weights = np.zeros((n_bits, code_size(n_bits)), dtype=np.float32)
    bits = np.arange(n_bits)
    weights[bits, bits // 8] = 2.0 ** (7 - bits % 8)
    zero = _constant(graph, np.zeros((), np.float32), f"{_PREFIX}zero")
    is_set = _append(graph, "Greater", ["logit", zero], f"{_PREFIX}is_set")
    ones = _append(graph, "Cast", [is_set], f"{_PREFIX}bits", to=TensorProto.FLOAT)
    packed = _append(
        graph, "MatMul", [ones, _constant(graph, weights, f"{_PREFIX}places")], f"{_PREFIX}packed"
    )
    _append(graph, "Cast", [packed], "code", to=TensorProto.UINT8)


def _append(
    graph: onnx.GraphProto, operator: str, inputs: list[str], output: str, **attributes: Any
) -> str:
    graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
    return output


def _constant(graph: onnx.GraphProto, values: NDArray[np.float32], name: str) -> str:
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
    return name
