"""Checks that an ONNX file alone decides what it computes, so that its SHA-256 identifies it.

ONNX lets a tensor lie in another file, named in the model ("external data"). That file can change
while the model's own bytes stay the same. Field numbers: onnx.proto of the ONNX specification.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hashkit.errors import ModelError
from hashkit.runtimes.protobuf import Message
from hashkit.runtimes.training_mode import TrainingMode

__all__ = ["check_is_whole"]

_CONTENTS: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Kinds of messages, and which of their fields hold tensors or lead to some."""

_TENSOR_NAME, _EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 8, 13, 14, 1
_GRAPH: Final = 7
_OPERATOR, _NODE_NAME = 4, 3
_COMPILED: Final = "EPContext"
"""Operator of ONNX Runtime that stands for a network compiled into another file."""


def check_is_whole(model: Message, path: Path) -> None:
    """Check that no part of the network is in another file than the model's, or in training mode.

    Parameters
    ----------
    model
        The model's message.
    path
        Path of the model, for the error.

    Raises
    ------
    ModelError
        If one is.
    ValueError
        If ``model`` is not an ONNX model.
    """
    model.message(_GRAPH)
    mode = TrainingMode(model, lambda: _walk(model))
    for kind, part in _walk(model):
        # A field may be repeated; libraries take the last value, cut to 32 bits.
        if kind == "tensor" and any(
            value & 0xFFFFFFFF == _EXTERNAL for value in part.numbers(_DATA_LOCATION)
        ):
            raise _has_external_data(part, path)
        if kind != "node":
            continue
        fault = mode.fault(part)
        if fault is not None:
            raise ModelError(
                f"{path}: expected a network that always gives an image the same code, found "
                f"{_shown(part)}, which {fault}: export the network in evaluation mode"
            )
        if _COMPILED in part.texts(_OPERATOR):
            raise ModelError(
                f"{path}: expected a network, found a node {_COMPILED}, which stands for a network "
                "compiled for one device: export the model again without compiling it"
            )


def _walk(model: Message) -> Iterator[tuple[str, Message]]:
    """(kind, message) of everything in a model; without recursion, as files may nest deeply."""
    waiting = [("model", model)]
    while waiting:
        kind, message = waiting.pop()
        yield kind, message
        contents = _CONTENTS[kind]
        if contents:
            waiting += [
                (contents[field], part) for field, part in message.parts() if field in contents
            ]


def _shown(node: Message) -> str:
    """A node for a message: its operator, and its name if it has one."""
    operator, name = node.text(_OPERATOR), node.text(_NODE_NAME)
    return f"the operator {operator} ({name})" if name else f"the operator {operator}"


def _has_external_data(tensor: Message, path: Path) -> ModelError:
    entries = {entry.text(1): entry.text(2) for entry in tensor.messages(_EXTERNAL_DATA)}
    name = tensor.text(_TENSOR_NAME) or "a tensor"
    place = f"{name} in {entries['location']}" if "location" in entries else name
    whole = path.with_name(f"{path.stem}-whole.onnx")
    one, other = (os.fspath(each) for each in (path, whole))
    return ModelError(
        f"{path}: expected all weights in this file, found external data ({place}); merge both "
        f"into one file in Python: import onnx; onnx.save(onnx.load({one!r}), {other!r})"
    )
