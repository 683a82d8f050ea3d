"""The tensor of an ONNX graph that holds the features."""

from __future__ import annotations

from pathlib import Path

import onnx

from hashkit.errors import ConfigError
from hashkit.features.foreign.graph_parts import described

__all__ = ["find_output"]


def find_output(graph: onnx.GraphProto, name: str, path: Path) -> str:
    """Name of the tensor with the features.

    Parameters
    ----------
    name
        An output of the graph, or any other tensor that its nodes compute; empty for its only
        output.
    path
        The file, for messages.

    Raises
    ------
    ConfigError
        If there is no such tensor; or if none is named, and there are several outputs, or the only
        one holds probabilities.
    """
    makers = {output: node for node in graph.node for output in node.output if output}
    outputs = described(graph.output)
    if name:
        if name not in makers:
            raise ConfigError(
                f"{path}: expected an `output` of the graph, found no tensor {name}; its outputs "
                f"are {outputs}"
            )
        return name
    computed: list[str] = [value.name for value in graph.output if value.name in makers]
    if len(computed) != 1:
        raise ConfigError(
            f"{path}: expected one output, found {len(computed)}: {outputs}: choose one with "
            "`output`"
        )
    (only,) = computed
    if makers[only].op_type in ("Softmax", "LogSoftmax"):
        raise ConfigError(
            f"{path}: expected features, found probabilities (the output {only} comes from "
            f"{makers[only].op_type}): choose an earlier tensor, such as "
            f'`output="{makers[only].input[0]}"`'
        )
    return only
