"""Check ONNX files and write them atomically."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import onnx

from hashkit.errors import ModelError
from hashkit.features.foreign.graph_parts import strip_notes
from hashkit.files.writing import make_parents, written_whole
from hashkit.messages.foreign_errors import foreign_message
from hashkit.messages.os_errors import cannot_write
from hashkit.runtimes.contract import PRECISION_KEY

__all__ = ["PRODUCER", "check_and_save", "describe", "make_folder", "written_model"]

PRODUCER = "hashkit"


def describe(model: onnx.ModelProto, metadata: dict[str, str], precision: str) -> None:
    """Set the metadata of a graph, and remove what tools added: source lines, paths, comments."""
    model.producer_name = PRODUCER
    model.producer_version = ""
    strip_notes(model)
    onnx.helper.set_model_props(model, metadata | {PRECISION_KEY: json.dumps(precision)})


def check_and_save(model: onnx.ModelProto, path: Path) -> None:
    """Check that a graph is valid ONNX, and write it.

    Raises
    ------
    ModelError
        If the graph is not valid.
    """
    try:
        # The full check infers every shape in strict mode and compares it with the declared shape.
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"the exported graph is not valid ONNX: {foreign_message(error)}"
        ) from error
    onnx.save_model(model, str(path), format="protobuf")  # for every suffix


def make_folder(target: Path) -> None:
    """Create the folder of a file.

    Raises
    ------
    ModelError
        If it cannot be created.
    """
    try:
        make_parents(target)
    except OSError as error:
        raise ModelError(cannot_write(error, target)) from None


@contextlib.contextmanager
def written_model(target: Path) -> Iterator[Path]:
    """Yield the private path of a model to write and check, which replaces ``target`` at the end.

    If anything fails, ``target`` is unchanged; see `hashkit.files.writing.written_whole`.

    Raises
    ------
    ModelError
        If the file cannot be written.
    """
    try:
        with written_whole(target) as part:
            yield part
    except OSError as error:
        raise ModelError(cannot_write(error, target)) from error
