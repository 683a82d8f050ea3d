"""Reads the metadata and the inputs and outputs of an ONNX file, without a runtime or the weights.

An ONNX file is one protocol-buffers message. Only the fields that describe the model are read
(field numbers: onnx.proto3 of the ONNX specification).
"""

from __future__ import annotations

import dataclasses
import mmap
from pathlib import Path
from typing import Final

from hashkit.errors import ModelError
from hashkit.inputs.opening import open_file
from hashkit.manifest import Manifest
from hashkit.runtimes.builtin import no_such_model
from hashkit.runtimes.contract import check_contract, read_precision
from hashkit.runtimes.own_weights import check_is_whole
from hashkit.runtimes.protobuf import Message

__all__ = ["GraphTensor", "OnnxFile", "read_metadata", "read_onnx_file", "read_tensors"]

_TYPES: Final = {
    1: "float",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "double",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}


@dataclasses.dataclass(frozen=True)
class GraphTensor:
    """An input or output of the graph; ``type`` and ``shape`` as in ONNX Runtime."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """The description of a model that follows the model contract.

    Attributes
    ----------
    manifest
        The model's metadata; bits and size are those of the graph.
    precision
        Arithmetic of the network, for example ``fp32``.
    opset
        Version of ONNX's own operators.
    producer
        The program that wrote the file, and its version; empty if unknown.
    inputs, outputs
        Inputs and outputs of the graph.
    """

    manifest: Manifest
    precision: str
    opset: int
    producer: str
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]


def read_onnx_file(path: Path) -> OnnxFile:
    """Read the description of an ONNX model.

    Raises
    ------
    ModelError
        If the file is missing, not an ONNX model, has weights in another file, or breaks the
        contract.
    """
    try:
        with (
            open_file(path, "model_bytes") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            model = Message(data, 0, len(data))
            inputs, outputs = _inputs_and_outputs(model)
            metadata = _metadata(model)
            opsets = {entry.text(1): entry.number(2) for entry in model.messages(8)}
            producer = f"{model.text(2)} {model.text(3)}".strip()
            check_is_whole(model, path)
    except FileNotFoundError:
        raise ModelError(no_such_model(path)) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError:  # from `Message`, from text that is not UTF-8, from an empty file
        raise ModelError(f"{path}: {_not_a_model()}") from None
    try:
        n_bits, height, width = check_contract(inputs, outputs)
        manifest = Manifest.from_metadata(metadata, n_bits=n_bits, height=height, width=width)
        precision = read_precision(metadata)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    return OnnxFile(manifest, precision, opsets.get("", 0), producer, inputs, outputs)


def read_metadata(data: bytes) -> dict[str, str]:
    """The ``metadata_props`` of an ONNX model's bytes.

    Raises
    ------
    ModelError
        If they are not an ONNX model.
    """
    try:
        return _metadata(Message(data, 0, len(data)))
    except ValueError:
        raise _not_a_model() from None


def read_tensors(data: bytes) -> tuple[tuple[GraphTensor, ...], tuple[GraphTensor, ...]]:
    """Inputs and outputs of an ONNX model's bytes.

    Raises
    ------
    ModelError
        If they are not an ONNX model.
    """
    try:
        return _inputs_and_outputs(Message(data, 0, len(data)))
    except ValueError:
        raise _not_a_model() from None


def _not_a_model() -> ModelError:
    return ModelError("expected an ONNX model, found other data")


def _metadata(model: Message) -> dict[str, str]:
    return {entry.text(1): entry.text(2) for entry in model.messages(14)}


def _inputs_and_outputs(
    model: Message,
) -> tuple[tuple[GraphTensor, ...], tuple[GraphTensor, ...]]:
    graph = model.message(7)
    return _tensors(graph, 11), _tensors(graph, 12)


def _tensors(graph: Message, field: int) -> tuple[GraphTensor, ...]:
    tensors = []
    for value in graph.messages(field):
        tensor = value.message(2).message(1)
        kind = _TYPES.get(tensor.number(1), "unknown")
        shape = tuple(_size(dimension) for dimension in tensor.message(2).messages(1))
        tensors.append(GraphTensor(value.text(1), f"tensor({kind})", shape))
    return tuple(tensors)


def _size(dimension: Message) -> int | str | None:
    if dimension.has(1):
        return dimension.number(1)
    return dimension.text(2) or None
