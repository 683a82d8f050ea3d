"""Find the nodes of a graph that form the network, between pixels and logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import onnx

from hashkit.errors import ModelError

__all__ = ["WEIGHTED_OPERATORS", "first_and_last", "inline_constants", "network_nodes"]

WEIGHTED_OPERATORS: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with weights, which form the layers."""


def network_nodes(graph: onnx.GraphProto) -> list[int]:
    """Indices, ascending, of the nodes from the first layers to the node that gives the logits.

    Casting, normalisation and transposition of the pixels come before them; threshold and packing
    come after.

    Raises
    ------
    ModelError
        If no layer leads to the output ``logit``, or the graph has control flow.
    """
    nodes = graph.node
    for node in nodes:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ModelError(
                f"the graph has control flow (operator {node.op_type}): its precision cannot be "
                "changed; export a network without branches or loops"
            )
    before_logit = _upstream(nodes, {"logit"})
    layers = {at for at in before_logit if nodes[at].op_type in WEIGHTED_OPERATORS}
    if not layers:
        raise ModelError(
            "the graph has no layer before its output logit: expected at least one of "
            f"{', '.join(sorted(WEIGHTED_OPERATORS))}"
        )
    after_a_layer = _downstream(nodes, _outputs(nodes, layers))
    return sorted(layers | (before_logit & after_a_layer))


def first_and_last(graph: onnx.GraphProto) -> set[int]:
    """Indices of the layers with no layer before them, or none between them and the logits."""
    nodes = graph.node
    layers = [at for at in network_nodes(graph) if nodes[at].op_type in WEIGHTED_OPERATORS]
    after = _downstream(nodes, _outputs(nodes, layers))
    before = _upstream(nodes, {name for at in layers for name in nodes[at].input})
    return {at for at in layers if at not in after or at not in before}


def inline_constants(graph: onnx.GraphProto) -> None:
    """Replace Constant nodes that hold a tensor by initializers, so that weights can be changed."""
    constants = [node for node in graph.node if node.op_type == "Constant"]
    for node in constants:
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if values:
            initializer = graph.initializer.add()
            initializer.CopyFrom(values[0])
            initializer.name = node.output[0]
            graph.node.remove(node)


def _outputs(nodes: Sequence[onnx.NodeProto], places: Iterable[int]) -> set[str]:
    return {name for at in places for name in nodes[at].output if name}


def _downstream(nodes: Sequence[onnx.NodeProto], tensors: set[str]) -> set[int]:
    """Nodes that depend on any of the tensors; nodes are in topological order."""
    known, found = set(tensors), set()
    for at, node in enumerate(nodes):
        if not known.isdisjoint(node.input):
            known.update(name for name in node.output if name)
            found.add(at)
    return found


def _upstream(nodes: Sequence[onnx.NodeProto], tensors: set[str]) -> set[int]:
    """Nodes on which any of the tensors depends."""
    wanted, found = set(tensors) - {""}, set()
    for at in range(len(nodes) - 1, -1, -1):
        if not wanted.isdisjoint(nodes[at].output):
            wanted.update(name for name in nodes[at].input if name)
            found.add(at)
    return found
