"""Convert a network to half precision: weights and arithmetic in float16.

Pixels are cast and normalised in float32, and the logits are cast back to float32, so threshold
and packing are unchanged. ONNX Runtime's own converter is not used: between two nodes that stay in
float32 it rounds to float16 and back, and it clips weights without a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hashkit.errors import ModelError
from hashkit.exporters.network_nodes import inline_constants, network_nodes
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["round_as_fp16", "to_fp16"]

_LARGEST: Final = float(np.finfo(np.float16).max)


def to_fp16(source: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with its network in float16.

    Inputs that ONNX does not define for float16, such as the scales of a Resize, stay in float32.

    Parameters
    ----------
    source
        A float32 model that follows the model contract; it is not modified.

    Raises
    ------
    ModelError
        If a weight exceeds the range of float16, or the graph cannot be converted.
    """
    model = onnx.ModelProto()
    model.CopyFrom(source)
    inline_constants(model.graph)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"the types in the graph cannot be inferred: {foreign_message(error)}"
        ) from error
    conversion = _Conversion(model.graph, _float_tensors(inferred.graph), _opsets(model))
    conversion.rewrite()
    return model


def round_as_fp16(half: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 model that rounds to float16 wherever a model of `to_fp16` does.

    ONNX Runtime's CPU provider has few float16 kernels: it runs an fp16 model entirely in float32,
    without rounding between layers. The model returned here gives the results of a device that
    computes each operator in float32 and stores its output in float16.
    """
    model = onnx.ModelProto()
    model.CopyFrom(half)
    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    halves = {
        value.name
        for value in inferred.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    for weight in graph.initializer:
        if weight.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        rounded = [name for name in node.output if name in halves]
        for place, name in enumerate(node.output):
            if name in halves:
                node.output[place] = name + "/exact"
        for attribute in node.attribute:
            if rounded and node.op_type == "Cast" and attribute.name == "to":
                attribute.i = TensorProto.FLOAT
        if rounded:
            node.name = ""  # a cast below may use the same name
        graph.node.append(node)
        for name in rounded:
            graph.node.append(_cast(name + "/exact", name + "/rounded", TensorProto.FLOAT16))
            graph.node.append(_cast(name + "/rounded", name, TensorProto.FLOAT))
    return model


class _Conversion:
    """Conversion of a graph to float16.

    Each float32 tensor ``t`` that is computed or needed in float16 exists as ``t/fp16``. If both
    are needed, a single cast converts one to the other.
    """

    def __init__(
        self, graph: onnx.GraphProto, float_tensors: set[str], opsets: dict[str, int]
    ) -> None:
        self._graph = graph
        self._floats = float_tensors
        self._opsets = opsets
        self._weights = {weight.name: weight for weight in graph.initializer}
        self._halves: set[str] = set()  # float32 names whose float16 counterpart exists
        self._nodes: list[onnx.NodeProto] = []

    def rewrite(self) -> None:
        """Convert the nodes of the network in place."""
        network = set(network_nodes(self._graph))
        schemas = [self._schema(node) for node in self._graph.node]
        wanted = {value.name for value in self._graph.output}
        kept = []
        for at, node in enumerate(self._graph.node):
            schema = schemas[at]
            is_half = at in network and schema is not None and self._can_be_half(node, schema)
            kept.append(is_half)
            if is_half and schema is not None:
                wanted.update(n for i, n in enumerate(node.input) if not _takes_half(schema, i))
            else:
                wanted.update(node.input)
        for node, schema, is_half in zip(list(self._graph.node), schemas, kept, strict=True):
            if is_half and schema is not None:
                self._convert(node, schema, wanted)
            else:
                self._nodes.append(node)
        self._replace_nodes()

    def _convert(self, node: onnx.NodeProto, schema: onnx.defs.OpSchema, wanted: set[str]) -> None:
        half = onnx.NodeProto()
        half.CopyFrom(node)
        for place, name in enumerate(node.input):
            if name in self._floats and _takes_half(schema, place):
                half.input[place] = self._half_of(name)
        self._nodes.append(half)
        for place, name in enumerate(node.output):
            if name not in self._floats:
                continue
            half.output[place] = _half_name(name)
            self._halves.add(name)
            if name in wanted:
                self._nodes.append(_cast(_half_name(name), name, TensorProto.FLOAT))
        for attribute in half.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                attribute.i = TensorProto.FLOAT16

    def _half_of(self, name: str) -> str:
        """Name of a tensor's float16 counterpart, which is created if it does not exist."""
        if name not in self._halves:
            self._halves.add(name)
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name]))
            else:
                self._nodes.append(_cast(name, _half_name(name), TensorProto.FLOAT16))
        return _half_name(name)

    def _can_be_half(self, node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> bool:
        """Whether all floating-point outputs of a node may be float16."""
        floats = [place for place, name in enumerate(node.output) if name in self._floats]
        if not all(
            "tensor(float16)" in _formal_parameter(schema.outputs, place).types for place in floats
        ):
            return False
        if node.op_type == "Cast":
            return bool(floats)
        # If an attribute sets the type, as in RandomNormal, the node stays in float32.
        has_own_type = "dtype" in schema.attributes or node.op_type == "ConstantOfShape"
        return not has_own_type and any(name in self._floats for name in node.input)

    def _schema(self, node: onnx.NodeProto) -> onnx.defs.OpSchema | None:
        version = self._opsets.get(node.domain, 0)
        if not version or not onnx.defs.has(node.op_type, version, node.domain):
            return None
        return onnx.defs.get_schema(node.op_type, version, node.domain)

    def _replace_nodes(self) -> None:
        nodes = self._nodes
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        # Types have changed; they are inferred again when the file is loaded.
        del self._graph.value_info[:]
        used = {name for node in nodes for name in node.input}
        used.update(value.name for value in self._graph.output)
        weights = [weight for weight in self._graph.initializer if weight.name in used]
        del self._graph.initializer[:]
        self._graph.initializer.extend(weights)


def _float_tensors(graph: onnx.GraphProto) -> set[str]:
    """Names of all float32 tensors of a graph whose types have been inferred."""
    values = [*graph.input, *graph.output, *graph.value_info]
    named = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return named | {w.name for w in graph.initializer if w.data_type == TensorProto.FLOAT}


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    """Version of each operator set that the model uses."""
    return {opset.domain: opset.version for opset in model.opset_import}


def _formal_parameter(
    formals: Sequence[onnx.defs.OpSchema.FormalParameter], place: int
) -> onnx.defs.OpSchema.FormalParameter:
    return formals[min(place, len(formals) - 1)]  # the last parameter may be variadic


def _takes_half(schema: onnx.defs.OpSchema, place: int) -> bool:
    return "tensor(float16)" in _formal_parameter(schema.inputs, place).types


def _half_name(name: str) -> str:
    return name + "/fp16"


def _half_weight(weight: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(weight)
    largest = float(np.abs(values).max(initial=0))
    if largest > _LARGEST and np.isfinite(largest):
        raise ModelError(
            f"{weight.name} has values up to {largest:.3g}, but float16 ends at {_LARGEST:,.0f}: "
            "keep this model in fp32"
        )
    return numpy_helper.from_array(values.astype(np.float16), _half_name(weight.name))


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast {target}", to=to)
