"""Reads a checkpoint's header and tensors, as arrays of NumPy or tensors of torch.

Checkpoints are safetensors files: nothing is unpickled. Needs safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from hashkit.errors import CheckpointError
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.opening import bytes_on_disk, check_file
from hashkit.manifest import Manifest
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.checkpoint_header import (
    FORMAT_VERSION,
    HEADER_KEY,
    CheckpointHeader,
    parse_header,
)
from hashkit.runs.config import TrainConfig

__all__ = ["MODEL_PREFIX", "header_metadata", "read_tensors", "weights_digest"]

MODEL_PREFIX: Final = "model."
"""Prefix of the names of the model's tensors."""


def read_tensors(
    path: Path, framework: Literal["pt", "numpy"]
) -> tuple[CheckpointHeader, dict[str, Any]]:
    """Header and tensors of a checkpoint, by name.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another format version.
    """
    name = f"{path} is not a checkpoint of hashkit, or damaged"
    from safetensors import SafetensorError, safe_open

    try:
        status = check_file(path)  # safetensors would wait for a pipe
        check_limit("array_bytes", status.st_size, "the file", path, on_disk=bytes_on_disk(status))
        with safe_open(path, framework=framework) as file:
            text = (file.metadata() or {}).get(HEADER_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except TooLargeError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (OSError, SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name}: {foreign_message(error)}") from None
    if text is None:
        raise CheckpointError(f"{name}: expected the metadata {HEADER_KEY!r}, found none")
    return parse_header(text, name), tensors


def header_metadata(
    step: int,
    config: TrainConfig,
    manifest: Manifest,
    state: Mapping[str, Any],
    trainer_sha256: str = "",
) -> dict[str, str]:
    """The metadata of a checkpoint's file.

    Parameters
    ----------
    manifest
        Metadata of the model, with the SHA-256 of the weights.
    trainer_sha256
        SHA-256 of the tensors of losses and optimiser; empty if there are none.
    """
    header = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "config": config.to_dict(),
        "manifest": manifest.to_dict(),
        "state": dict(state),
        "trainer_sha256": trainer_sha256,
    }
    return {HEADER_KEY: json.dumps(header)}


def weights_digest(tensors: Iterable[tuple[str, str, list[int], bytes]]) -> str:
    """SHA-256 over name, dtype, shape and bytes of tensors, which are sorted by name."""
    digest = hashlib.sha256()
    for name, dtype, shape, data in tensors:
        digest.update(f"{name} {dtype} {shape}\n".encode())
        digest.update(data)
    return digest.hexdigest()
