"""An ONNX network between pixels and features: the nodes in front of it and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import onnx
from onnx import TensorProto, helper

from hashkit.features.embedder import FEATURE, IMAGE
from hashkit.features.foreign.batch_axis import constant
from hashkit.features.foreign.graph_parts import names_read, rename_values, strip_notes
from hashkit.features.foreign.image_input import ImageInput
from hashkit.features.foreign.preprocessing import Preprocessing

__all__ = ["FLOAT_OUTPUT", "WrappedGraph"]

FLOAT_OUTPUT: Final = "pooling/output"
"""Name of the network's output as float32."""

_PREFIX: Final = "embedder/"
"""Prefix of all names from the file, which could otherwise clash with others."""

_IR_VERSION: Final = 8
"""Least version of the file format: earlier ones may list weights as inputs."""

_PRODUCER: Final = "hashkit"


class WrappedGraph:
    """A network whose input takes pixels.

    Parameters
    ----------
    model
        The file's model, which is changed in place.
    nodes
        Those of its nodes that compute the output.
    image
        Its input.
    output
        Name of its output.
    preprocessing
        Normalisation of the input.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        nodes: Sequence[onnx.NodeProto],
        image: ImageInput,
        output: str,
        preprocessing: Preprocessing,
    ) -> None:
        self.image, self.output = image, output
        self._model, self._preprocessing = model, preprocessing
        _keep(model, nodes)
        _describe(model)
        rename_values(model.graph, _PREFIX)
        self._nodes = list(model.graph.node)

    def bare(self, layout: str, size: tuple[int, int]) -> bytes:
        """The graph from pixels to the network's own output, of any type and shape."""
        output = onnx.ValueInfoProto(name=_PREFIX + self.output)
        self._assemble(layout, size, [], output)
        return bytes(self._model.SerializeToString(deterministic=True))

    def finished(
        self,
        layout: str,
        size: tuple[int, int],
        pooling: Sequence[onnx.NodeProto],
        n_features: int,
    ) -> bytes:
        """The graph from pixels to features.

        Parameters
        ----------
        pooling
            Nodes from `FLOAT_OUTPUT` to `FEATURE`.
        n_features
            Numbers per image.
        """
        cast = helper.make_node(
            "Cast", [_PREFIX + self.output], [FLOAT_OUTPUT], to=TensorProto.FLOAT
        )
        output = helper.make_tensor_value_info(FEATURE, TensorProto.FLOAT, ["N", n_features])
        self._assemble(layout, size, [cast, *pooling], output)
        return bytes(self._model.SerializeToString(deterministic=True))

    def _assemble(
        self,
        layout: str,
        size: tuple[int, int],
        after: Sequence[onnx.NodeProto],
        output: onnx.ValueInfoProto,
    ) -> None:
        graph = self._model.graph
        nodes = [*self._before(layout), *self._nodes, *after]
        image = helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["N", *size, 3])
        del graph.node[:], graph.input[:], graph.output[:]
        graph.node.extend(nodes)
        graph.input.append(image)
        graph.output.append(output)

    def _before(self, layout: str) -> list[onnx.NodeProto]:
        """Nodes from pixels to the network's input: (pixel - mean) / std, in float32."""
        target = _PREFIX + self.image.name
        kind = TensorProto.FLOAT16 if self.image.is_half else TensorProto.FLOAT
        nodes = [
            helper.make_node("Cast", [IMAGE], ["pixels/float"], to=TensorProto.FLOAT),
            constant("pixels/mean", self._preprocessing.mean),
            helper.make_node("Sub", ["pixels/float", "pixels/mean"], ["pixels/centred"]),
            constant("pixels/std", self._preprocessing.std),
            helper.make_node("Div", ["pixels/centred", "pixels/std"], ["pixels/normalised"]),
        ]
        last = "pixels/normalised"
        if layout == "nchw":
            nodes.append(
                helper.make_node("Transpose", [last], ["pixels/planes"], perm=(0, 3, 1, 2))
            )
            last = "pixels/planes"
        return [*nodes, helper.make_node("Cast", [last], [target], to=kind)]


def _keep(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Remove everything that these nodes do not need."""
    graph, needed = model.graph, names_read(nodes)
    kept = [*nodes]
    del graph.node[:]
    graph.node.extend(kept)
    for at in range(len(graph.initializer) - 1, -1, -1):
        if graph.initializer[at].name not in needed:
            del graph.initializer[at]
    for at in range(len(graph.sparse_initializer) - 1, -1, -1):
        if graph.sparse_initializer[at].values.name not in needed:
            del graph.sparse_initializer[at]
    # Shapes that were inferred for another batch, and ranges of a quantiser's tensors.
    graph.ClearField("value_info")
    graph.ClearField("quantization_annotation")


def _describe(model: onnx.ModelProto) -> None:
    strip_notes(model)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    model.producer_name, model.producer_version = _PRODUCER, ""
    model.domain, model.model_version = "", 0
    model.graph.name = FEATURE
