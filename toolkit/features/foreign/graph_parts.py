"""Parts of an ONNX graph: every tensor, the nodes behind an output, names, and notes of tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import onnx

__all__ = [
    "all_names",
    "all_tensors",
    "described",
    "is_own",
    "names_read",
    "other_domains",
    "real_inputs",
    "rename_values",
    "strip_notes",
    "upstream",
]

_MAX_DESCRIBED: Final = 8


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, including those of attributes, nested graphs and functions."""
    for graph in _graphs([model.graph]):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _node_tensors(graph.node)
    for function in model.functions:
        yield from _node_tensors(function.node)
        for attribute in function.attribute_proto:
            yield from _attribute_tensors(attribute)
        for graph in _graphs(_subgraphs(function.node)):
            yield from graph.initializer
            yield from _node_tensors(graph.node)


def all_names(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Every name that is read here; bytes if it is not UTF-8, which protocol buffers let pass."""
    yield from (model.producer_name, model.producer_version)
    yield from (entry.domain for entry in model.opset_import)
    for tensor in all_tensors(model):
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)
    for graph in _graphs([model.graph]):
        for node in graph.node:
            yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
            yield from (attribute.name for attribute in node.attribute)
        for value in (*graph.input, *graph.output, *graph.value_info):
            yield value.name
            yield from (side.dim_param for side in value.type.tensor_type.shape.dim)


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs without a value in the file: early versions of ONNX list the weights, too."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {sparse.values.name for sparse in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in weights]


def upstream(nodes: Iterable[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """The nodes on which a tensor depends, in their order; ``nodes`` are in topological order."""
    wanted, kept = {output}, []
    for node in reversed(list(nodes)):
        if not wanted.isdisjoint(node.output):
            wanted |= names_read([node])
            kept.append(node)
    return kept[::-1]


def names_read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Names of the tensors that nodes read; nested graphs may read those of the enclosing graph."""
    nodes = list(nodes)
    found = {name for node in nodes for name in node.input if name}
    for graph in _graphs(_subgraphs(nodes)):
        found.update(name for node in graph.node for name in node.input if name)
        found.update(value.name for value in graph.output)
    return found


def is_own(domain: str) -> bool:
    """Whether operators of a domain are ONNX's own."""
    return domain in ("", "ai.onnx")


def other_domains(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """Domains of operators that are not ONNX's own, and that few runtimes know; nested ones too."""
    nodes = list(nodes)
    inner = [node for graph in _graphs(_subgraphs(nodes)) for node in graph.node]
    return sorted({node.domain for node in (*nodes, *inner) if not is_own(node.domain)})


def rename_values(graph: onnx.GraphProto, prefix: str) -> None:
    """Put a prefix before the name of every tensor and node, in nested graphs too."""
    for part in _graphs([graph]):
        for node in part.node:
            node.name = _prefixed(prefix, node.name)
            node.input[:] = [_prefixed(prefix, name) for name in node.input]
            node.output[:] = [_prefixed(prefix, name) for name in node.output]
        for values in (part.input, part.output, part.value_info):
            for value in values:
                value.name = _prefixed(prefix, value.name)
        for tensor in part.initializer:
            tensor.name = _prefixed(prefix, tensor.name)
        for sparse in part.sparse_initializer:
            sparse.values.name = _prefixed(prefix, sparse.values.name)


def strip_notes(model: onnx.ModelProto) -> None:
    """Remove what tools add to a graph for people: source lines, paths, comments."""
    model.doc_string = ""
    model.ClearField("metadata_props")
    for graph in _graphs([model.graph]):
        graph.ClearField("doc_string")
        graph.ClearField("metadata_props")
        for parts in (graph.node, graph.value_info, graph.input, graph.output, graph.initializer):
            for part in parts:
                part.ClearField("metadata_props")
                part.ClearField("doc_string")


def described(values: Iterable[onnx.ValueInfoProto]) -> str:
    """Inputs or outputs for a message: ``image (float [N, 3, 224, 224])``."""
    shown = [_described(value) for value in values]
    if len(shown) > _MAX_DESCRIBED:
        shown[_MAX_DESCRIBED:] = [f"{len(shown) - _MAX_DESCRIBED} more"]
    return ", ".join(shown)


def _described(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kinds = onnx.TensorProto.DataType
    known = tensor.elem_type in kinds.values()
    kind = kinds.Name(tensor.elem_type).lower() if known else "unknown"
    if not tensor.HasField("shape"):
        return f"{value.name} ({kind})"
    sides = [str(d.dim_value) if d.dim_value else d.dim_param or "?" for d in tensor.shape.dim]
    return f"{value.name} ({kind} [{', '.join(sides)}])"


def _prefixed(prefix: str, name: str) -> str:
    return prefix + name if name else ""


def _graphs(graphs: Iterable[onnx.GraphProto]) -> Iterator[onnx.GraphProto]:
    """Graphs and all that are nested in them."""
    waiting = list(graphs)
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += _subgraphs(graph.node)


def _subgraphs(nodes: Iterable[onnx.NodeProto]) -> list[onnx.GraphProto]:
    found = []
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.append(attribute.g)
            found += attribute.graphs
    return found


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [*attribute.sparse_tensors]
    if attribute.HasField("sparse_tensor"):
        sparse.append(attribute.sparse_tensor)
    for tensor in sparse:
        yield from (tensor.values, tensor.indices)
