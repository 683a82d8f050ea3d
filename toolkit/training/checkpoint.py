"""Checkpoints: tensors in a safetensors file, everything else as JSON in its header.

The file is written under a temporary name and renamed, so a checkpoint is complete or absent.
Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from hashkit.errors import CheckpointError, ModelError
from hashkit.features.head_checkpoint import library_versions as versions_without_torch
from hashkit.files.writing import written_whole
from hashkit.inputs.schema import dataclass_from
from hashkit.manifest import Manifest
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.checkpoint_file import (
    MODEL_PREFIX,
    header_metadata,
    read_tensors,
    weights_digest,
)
from hashkit.runs.checkpoint_weights import check_digest
from hashkit.runs.config import TrainConfig
from hashkit.runs.named_code import named_by, network_to_build
from hashkit.training.devices import seeded
from hashkit.training.model import HashModel, new_model

__all__ = [
    "Checkpoint",
    "TrainedModel",
    "library_versions",
    "load_model",
    "load_weights",
    "read_checkpoint",
    "weights_sha256",
    "write_checkpoint",
]

_TRAINED: Final = "trained."
_LOSSES: Final = "losses."
_OPTIMISER: Final = "optimiser."


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A training state.

    Attributes
    ----------
    step
        Steps done.
    config
        Settings of the run.
    manifest
        Metadata of the model.
    model
        Weights and buffers of the `HashModel` by name.
    losses
        Parameters and buffers of the losses, by index of the head and name; empty in a checkpoint
        that cannot be resumed.
    optimiser
        Momentum buffers by parameter name; empty in a checkpoint that cannot be resumed.
    state
        Other JSON values that the trainer resumes from.
    trained
        The weights in training by parameter name, where those of ``model`` are their averages;
        empty without averages, and in a checkpoint that cannot be resumed.
    """

    step: int
    config: TrainConfig
    manifest: Manifest
    model: Mapping[str, Tensor]
    losses: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    state: Mapping[str, Any]
    trained: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A model ready for inference on the CPU, and its manifest."""

    model: HashModel
    manifest: Manifest


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically, with the SHA-256 of the weights and of all other tensors."""
    manifest = dataclasses.replace(
        checkpoint.manifest, weights_sha256=weights_sha256(checkpoint.model)
    )
    others = {_LOSSES + name: value for name, value in checkpoint.losses.items()}
    others |= {_OPTIMISER + name: value for name, value in checkpoint.optimiser.items()}
    others |= {_TRAINED + name: value for name, value in checkpoint.trained.items()}
    metadata = header_metadata(
        checkpoint.step,
        checkpoint.config,
        manifest,
        checkpoint.state,
        trainer_sha256=weights_sha256(others),
    )
    tensors = {MODEL_PREFIX + name: value for name, value in checkpoint.model.items()} | others
    data = save(_unshared(tensors), metadata=metadata)
    with written_whole(path) as part:
        part.write_bytes(data)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing, of another format version, or damaged, for example if tensors have
        another SHA-256 than its header says.
    """
    header, tensors = read_tensors(path, "pt")
    try:
        manifest = Manifest.from_dict(header.manifest)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from None
    model = _with_prefix(tensors, MODEL_PREFIX)
    others = {name: value for name, value in tensors.items() if not name.startswith(MODEL_PREFIX)}
    check_digest(path, "weights", manifest.weights_sha256, weights_sha256(model))
    if header.trainer_sha256:
        found = weights_sha256(others)
        check_digest(path, "tensors of losses and optimiser", header.trainer_sha256, found)
    return Checkpoint(
        step=header.step,
        config=dataclass_from(
            TrainConfig, header.config, name=f"{path}: its settings", error=CheckpointError
        ),
        manifest=manifest,
        model=model,
        losses=_with_prefix(tensors, _LOSSES),
        optimiser=_with_prefix(tensors, _OPTIMISER),
        state=header.state,
        trained=_with_prefix(tensors, _TRAINED),
    )


def load_model(path: Path, *, network: str | None = None) -> TrainedModel:
    """Load the model of a checkpoint, in evaluation mode on the CPU.

    Parameters
    ----------
    path
        The checkpoint.
    network
        Name of the network that the checkpoint must have. Required if building it runs code from
        outside hashkit, as ``module:FILE.py:NAME`` does; the file may lie elsewhere than in
        training.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or its tensors do not match its settings.
    ConfigError
        If the network runs code and was not named, or another one was named.
    """
    checkpoint = read_checkpoint(path)
    config = checkpoint.config
    to_build = network_to_build(config.network, network, path)
    missing = [name for name in ("mean", "std") if name not in checkpoint.model]
    if missing:
        raise CheckpointError(f"{path} is damaged: expected a tensor {missing[0]}, found none")
    # As in training: a network may hold random values that are not among its weights.
    with seeded(config.seed), named_by(path):
        model = new_model(
            dataclasses.replace(config, network=to_build),
            checkpoint.model["mean"],
            checkpoint.model["std"],
            dataset=checkpoint.manifest.dataset,
        )
    load_weights(model, checkpoint.model, path)
    return TrainedModel(model.eval(), checkpoint.manifest)


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load the tensors of a checkpoint into a module.

    Raises
    ------
    CheckpointError
        If names or shapes differ, because the network or its file was changed.
    """
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: expected the tensors of the network that was trained, found others; restore "
            f"the network as it was in training, or train a new run ({foreign_message(error)})"
        ) from None


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of tensors, sorted by name."""
    return weights_digest(map(_described, sorted(tensors.items())))


def _described(named: tuple[str, Tensor]) -> tuple[str, str, list[int], bytes]:
    name, value = named
    tensor = value.detach().cpu().contiguous()
    is_bfloat16 = tensor.dtype == torch.bfloat16  # which NumPy lacks
    values: np.ndarray[Any, Any] = (tensor.view(torch.int16) if is_bfloat16 else tensor).numpy()
    dtype = "bfloat16" if is_bfloat16 else values.dtype.str
    return name, dtype, list(values.shape), values.tobytes()


def library_versions() -> dict[str, str]:
    """Versions of Python and the libraries that training uses."""
    return versions_without_torch() | {"torch": str(torch.__version__)}


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, each with memory of its own, as the file format needs.

    Layers may share weights, and a buffer may be a part of another one.
    """
    unshared: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        address = value.untyped_storage().data_ptr()
        unshared[name] = value.clone() if address in seen else value
        seen.add(address)
    return unshared


def _with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
