"""Metadata of a checkpoint, read without PyTorch and without its tensors.

A safetensors file begins with the length of its header (uint64, little-endian) and the header,
JSON; hashkit's part of it is one text below ``__metadata__``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hashkit.errors import CheckpointError, ModelError
from hashkit.manifest import Manifest
from hashkit.runs.known_names import split_network

__all__ = ["HEADER_KEY", "read_checkpoint_manifest", "read_checkpoint_network"]

HEADER_KEY: Final = "hashkit"
"""Name of hashkit's text in the header."""

_LENGTH_BYTES: Final = 8


def read_checkpoint_manifest(path: Path) -> Manifest:
    """The manifest of the model in a checkpoint; its tensors are not read.

    Raises
    ------
    CheckpointError
        If the file is missing or has no such header.
    """
    with _one_line(path):
        return Manifest.from_dict(_read_header(path)["manifest"])


def read_checkpoint_network(path: Path) -> str:
    """Name of the network in a checkpoint, which is not imported.

    Raises
    ------
    CheckpointError
        If the file is missing, has no such header, or names no network.
    """
    with _one_line(path):
        network: str = _read_header(path)["config"]["network"]
        split_network(network)  # raises for one that there is not
        return network


@contextlib.contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Turn all errors of a damaged file into a CheckpointError."""
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except (OSError, AttributeError, LookupError, TypeError, ValueError, ModelError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of hashkit, or damaged: {' '.join(str(error).split())}"
        ) from None


def _read_header(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            raise ValueError(f"its header would have {length} bytes")
        return json.loads(json.loads(file.read(length))["__metadata__"][HEADER_KEY])
