"""Built-in models whose weights come from an installed package: made once per machine.

hashkit has the graph of such a model without the weights of its convolutions. They are added here,
byte by byte and without the package onnx, so that the file is the same on every machine. Field
numbers: onnx.proto of the ONNX specification.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ModelError
from hashkit.files.cache import cannot_write_in_cache
from hashkit.files.writing import make_parents, write_whole
from hashkit.inputs.opening import read_file
from hashkit.runtimes.lite_folding import convolutions, folded
from hashkit.runtimes.lite_weights import find_variant, lite_weights
from hashkit.runtimes.protobuf import Message
from hashkit.runtimes.protobuf_writing import bytes_field, number_field, varint

__all__ = ["make_model", "with_weights"]

_EXTRA: Final = "lite"
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _FLOAT = 1, 2, 8, 9, 1


def make_model(graph: Path, variant_name: str, target: Path, sha256: str) -> None:
    """Make the file of a built-in model, unless it is there.

    Parameters
    ----------
    graph
        File with the graph.
    variant_name
        A name of `hashkit.runtimes.lite_weights.LITE_VARIANTS`, whose weights are added.
    target
        The file to make; missing folders are created.
    sha256
        SHA-256 of the file, hexadecimal. A file with another one is replaced.

    Raises
    ------
    MissingExtraError
        If the package with the weights is not installed.
    ModelError
        If the weights are not the expected ones, or the file cannot be written.
    """
    with contextlib.suppress(OSError):
        if hashlib.sha256(read_file(target, "model_bytes")).hexdigest() == sha256:
            return
    data = with_weights(read_file(graph, "model_bytes"), variant_name)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise ModelError(
            f"{graph}: expected a model of SHA-256 {sha256[:16]}..., found {found[:16]}...: "
            "install hashkit again"
        )
    try:
        make_parents(target)
        write_whole(target, data)
    except OSError as error:
        raise ModelError(cannot_write_in_cache(error, target)) from None


def with_weights(model: bytes, variant_name: str) -> bytes:
    """A serialised ONNX model with the weights of a network's convolutions at its graph's end."""
    variant = find_variant(variant_name)
    weights = lite_weights(variant, _EXTRA)
    tensors = []
    for name in convolutions(weights):
        weight, bias = folded(variant, weights, name)
        tensors += [_tensor(f"{name}.weight", weight), _tensor(f"{name}.bias", bias)]
    added = b"".join(bytes_field(_INITIALIZER, tensor) for tensor in tensors)
    start, end = Message(model, 0, len(model)).message(_GRAPH).span
    before = model[: start - len(varint(end - start))]
    return before + varint(end - start + len(added)) + model[start:end] + added + model[end:]


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    """A serialised TensorProto."""
    dims = b"".join(number_field(_DIMS, size) for size in values.shape)
    data = np.ascontiguousarray(values, "<f4").tobytes()
    return (
        dims
        + number_field(_DATA_TYPE, _FLOAT)
        + bytes_field(_NAME, name.encode())
        + bytes_field(_RAW_DATA, data)
    )
