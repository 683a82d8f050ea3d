"""Checkpoints of runs on frozen features: the tensors of a head, read and written without torch."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit._version import __version__
from hashkit.errors import CheckpointError, ModelError
from hashkit.features.head import Head, head_from_tensors
from hashkit.files.writing import written_whole
from hashkit.inputs.schema import dataclass_from
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_file import (
    MODEL_PREFIX,
    header_metadata,
    read_tensors,
    weights_digest,
)
from hashkit.runs.checkpoint_weights import check_digest
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import SPECTRAL

__all__ = ["TrainedHead", "library_versions", "read_head", "write_head"]


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedHead:
    """A head, the settings that it was trained with, and the metadata of its model."""

    head: Head
    config: TrainConfig
    manifest: Manifest


def write_head(
    path: Path, tensors: Mapping[str, NDArray[np.float32]], config: TrainConfig, manifest: Manifest
) -> None:
    """Write the checkpoint of a fitted head, whole; its manifest gets the digest of the tensors.

    Parameters
    ----------
    tensors
        See `hashkit.features.head.head_from_tensors`.
    """
    from safetensors.numpy import save

    manifest = dataclasses.replace(manifest, weights_sha256=_digest(tensors))
    data = save(
        {MODEL_PREFIX + name: np.ascontiguousarray(values) for name, values in tensors.items()},
        metadata=header_metadata(1, config, manifest, {}),
    )
    with written_whole(path) as part:
        part.write_bytes(data)


def read_head(path: Path) -> TrainedHead:
    """Read the head of a checkpoint, fitted here or trained by torch, of one code length.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or has no head on features.
    """
    header, tensors = read_tensors(path, "numpy")
    config = dataclass_from(
        TrainConfig, header.config, name=f"{path}: its settings", error=CheckpointError
    )
    own = {
        name.removeprefix(MODEL_PREFIX): values
        for name, values in tensors.items()
        if name.startswith(MODEL_PREFIX)
    }
    try:
        head = head_from_tensors(own, has_cosine=config.loss == SPECTRAL)
        manifest = Manifest.from_dict(header.manifest)
    except (CheckpointError, ModelError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    check_digest(path, "weights", manifest.weights_sha256, _digest(own))
    if head.n_bits != manifest.n_bits:
        raise CheckpointError(
            f"{path}: expected a head of {manifest.n_bits} bits, found one of {head.n_bits}"
        )
    return TrainedHead(head, config, manifest)


def _digest(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    return weights_digest(
        (name, values.dtype.str, list(values.shape), values.tobytes())
        for name, values in sorted(tensors.items())
    )


def library_versions() -> dict[str, str]:
    """Versions of Python and the libraries that fit heads."""
    return {
        "hashkit": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
