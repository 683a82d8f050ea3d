"""Reads an ONNX file of any origin, with all of its weights."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx

from hashkit.errors import ModelError
from hashkit.features.foreign.external_data import GIT_LFS, load_external_data
from hashkit.features.foreign.graph_parts import all_names, is_own
from hashkit.inputs.opening import read_file
from hashkit.messages.foreign_errors import foreign_message

__all__ = ["ForeignModel", "read_foreign", "valid_onnx"]

_LEAST_OPSET: Final = 9
"""From this version on, the operators that are added here mean the same."""

_LARGEST: Final = 2**31 - 2**16
"""Most bytes of a file: a protocol-buffers message, less room for what is added to the graph."""


@dataclasses.dataclass(frozen=True)
class ForeignModel:
    """An ONNX model in memory.

    Attributes
    ----------
    path
        Its file.
    model
        The model; all of its weights are inside.
    sha256
        SHA-256 of the file, hexadecimal.
    external
        SHA-256 of the files with its other weights, by name.
    producer
        The program that wrote the file, and its version; empty if unknown.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    external: Mapping[str, str]
    producer: str

    @property
    def opset(self) -> int:
        """Version of ONNX's own operators."""
        return max(
            (entry.version for entry in self.model.opset_import if is_own(entry.domain)),
            default=0,
        )


def read_foreign(path: Path) -> ForeignModel:
    """Read an ONNX file and the weights beside it, and check that they are valid ONNX.

    Raises
    ------
    ModelError
        If the file is missing, cut off, not an ONNX model, too large or not valid.
    """
    try:
        data = read_file(path, "model_bytes")
    except FileNotFoundError:
        raise ModelError(
            f"{path}: expected an ONNX file, found no such file: check the path"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    model = _parsed(data, path)
    sha256 = hashlib.sha256(data).hexdigest()
    del data
    model.ClearField("training_info")
    external = load_external_data(model, path)
    if model.ByteSize() > _LARGEST:
        raise ModelError(
            f"{path}: expected less than 2 GiB of weights, which is what a single ONNX file holds, "
            f"found {model.ByteSize():,} bytes: export the network in fp16"
        )
    producer = f"{model.producer_name} {model.producer_version}".strip()
    found = ForeignModel(path, model, sha256, external, producer)
    if found.opset < _LEAST_OPSET:
        raise ModelError(
            f"{path}: expected operators of opset {_LEAST_OPSET} or newer, found {found.opset}: "
            "export the model again with opset 17"
        )
    valid_onnx(model, path)
    return found


def valid_onnx(model: onnx.ModelProto, path: Path) -> None:
    """Check that a model is valid ONNX.

    Raises
    ------
    ModelError
        If it is not.
    """
    tensors = [value.type.tensor_type for value in model.graph.output]
    without_shape = [tensor for tensor in tensors if not tensor.HasField("shape")]
    try:
        # Runtimes infer the shapes of outputs, but the checker demands one.
        for tensor in without_shape:
            tensor.shape.SetInParent()
        onnx.checker.check_model(model)
    except Exception as error:
        raise ModelError(
            f"{path}: expected a valid ONNX model, found a fault ({foreign_message(error)}): "
            "export the model again"
        ) from None
    finally:
        for tensor in without_shape:
            tensor.ClearField("shape")


def _parsed(data: bytes, path: Path) -> onnx.ModelProto:
    if data.startswith(GIT_LFS):
        raise ModelError(
            f"{path}: expected an ONNX model, found a pointer of Git LFS: git lfs pull"
        )
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # an error of protocol buffers, or of memory
        model = onnx.ModelProto()
    if not model.graph.node or not all(isinstance(name, str) for name in all_names(model)):
        raise ModelError(
            f"{path}: expected an ONNX model, found other data or a file that is cut off: copy or "
            "export it again"
        )
    return model
