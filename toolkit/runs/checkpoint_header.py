"""Metadata of a checkpoint, read without PyTorch and without its tensors.

A safetensors file begins with the length of its header (uint64, little-endian) and the header,
JSON; hashkit's part of it is one text below ``__metadata__``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from hashkit.errors import CheckpointError, ModelError
from hashkit.manifest import Manifest

__all__ = ["HEADER_KEY", "read_checkpoint_manifest"]

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
    try:
        return Manifest.from_dict(_read_header(path)["manifest"])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except (OSError, LookupError, TypeError, ValueError, ModelError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of hashkit, or damaged: {' '.join(str(error).split())}"
        ) from None


def _read_header(path: Path) -> Any:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > path.stat().st_size:
            raise ValueError(f"its header would have {length} bytes")
        return json.loads(json.loads(file.read(length))["__metadata__"][HEADER_KEY])
