"""Embedders: frozen networks as ONNX graphs, from images to features."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.errors import ModelError
from hashkit.files.writing import write_whole
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import read_file
from hashkit.inputs.schema import dataclass_from
from hashkit.manifest import RESIZE_RULES
from hashkit.runtimes.onnx_file import read_metadata
from hashkit.runtimes.own_weights import check_is_whole
from hashkit.runtimes.protobuf import Message
from hashkit.runtimes.protobuf_writing import bytes_field

__all__ = ["FEATURE", "IMAGE", "Embedder", "is_embedder", "read_embedder", "write_embedder"]

IMAGE: Final = "image"
FEATURE: Final = "feature"
"""Names of the input and the output of an embedder's graph."""

_KEY: Final = "hashkit.embedder"
_MODEL_KEY: Final = "hashkit.n_bits"
"""Key in the metadata of every model, including one whose metadata names its embedder."""
_METADATA_FIELD: Final = 14


@dataclasses.dataclass(frozen=True, eq=False)
class Embedder:
    """A frozen network as one ONNX graph that contains all of its weights.

    Attributes
    ----------
    name
        Such as ``efficientnet-lite0``, or the name of the file that it comes from.
    graph
        The serialised graph: ``image``, uint8 [N, height, width, 3], RGB, N dynamic, to
        ``feature``, float32 [N, n_features]. Normalisation and pooling are part of it.
    height, width
        Input size, pixels.
    resize
        One of `hashkit.manifest.RESIZE_RULES`.
    n_features
        Numbers per image.
    facts
        What is known about it, as JSON-ready values: source, normalisation, licence.
    """

    name: str
    graph: bytes
    height: int
    width: int
    resize: str
    n_features: int
    facts: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Input size as (height, width), pixels."""
        return self.height, self.width

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the graph, hexadecimal."""
        return hashlib.sha256(self.graph).hexdigest()


@dataclasses.dataclass(frozen=True)
class _Description:
    """An embedder, as the metadata of its file describe it."""

    name: str
    height: int
    width: int
    resize: str
    n_features: int
    facts: Mapping[str, Any]
    graph_bytes: int
    graph_sha256: str = ""

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_RULES:
            raise ModelError(f"unknown resize rule {self.resize!r}")
        if min(self.height, self.width, self.n_features, self.graph_bytes) < 1:
            raise ModelError("expected sizes of 1 or more")


def write_embedder(path: Path, embedder: Embedder) -> None:
    """Write an embedder as an ONNX file whose metadata describe it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    description = _Description(
        name=embedder.name,
        height=embedder.height,
        width=embedder.width,
        resize=embedder.resize,
        n_features=embedder.n_features,
        facts=embedder.facts,
        graph_bytes=len(embedder.graph),
        graph_sha256=embedder.sha256,
    )
    text = json.dumps(dataclasses.asdict(description))
    # Protocol buffers that are concatenated are merged, so this adds an entry of metadata_props.
    write_whole(path, embedder.graph + _metadata_entry(_KEY, text))


def is_embedder(path: Path) -> bool:
    """Whether the metadata of an ONNX file say that it is an embedder, and not a model with one."""
    try:
        metadata = read_metadata(read_file(path, "model_bytes"))
    except (OSError, ModelError):
        return False
    return _KEY in metadata and _MODEL_KEY not in metadata


def read_embedder(path: Path) -> Embedder:
    """Read what `write_embedder` wrote.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not of an embedder, or if its graph refers to other
        files or draws random numbers.
    """
    try:
        data = read_file(path, "model_bytes")
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such embedder") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    name = f"{path}: its description"
    try:
        text = read_metadata(data).get(_KEY)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    try:
        check_is_whole(Message(data, 0, len(data)), path)
    except ValueError:
        raise ModelError(f"{path}: expected an ONNX model, found other data") from None
    if text is None:
        raise ModelError(f"{path}: expected an embedder, found an ONNX model without {_KEY}")
    fields = parse_json(text, name, ModelError)
    found = dataclass_from(_Description, fields, name=name, error=ModelError)
    if data[found.graph_bytes :] != _metadata_entry(_KEY, text):
        raise ModelError(f"{path}: damaged: its description is not at the end of the file")
    embedder = Embedder(
        name=found.name,
        graph=data[: found.graph_bytes],
        height=found.height,
        width=found.width,
        resize=found.resize,
        n_features=found.n_features,
        facts=found.facts,
    )
    if found.graph_sha256 not in ("", embedder.sha256):
        raise ModelError(
            f"{path}: damaged: expected a graph with the SHA-256 {found.graph_sha256}, found one "
            f"with {embedder.sha256}"
        )
    return embedder


def _metadata_entry(key: str, value: str) -> bytes:
    """One entry of an ONNX model's ``metadata_props``, as protocol buffers write it."""
    entry = bytes_field(1, key.encode()) + bytes_field(2, value.encode())
    return bytes_field(_METADATA_FIELD, entry)
