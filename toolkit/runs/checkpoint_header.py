"""Metadata of a checkpoint, read without PyTorch and without its tensors.

A safetensors file begins with the length of its header (uint64, little-endian) and the header,
JSON; hashkit's part of it is one text below ``__metadata__``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.errors import CheckpointError, ConfigError, ModelError
from hashkit.inputs.binary import BinaryReader
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import open_file
from hashkit.inputs.schema import dataclass_from, value_from
from hashkit.manifest import Manifest
from hashkit.runs.known_names import split_network

__all__ = [
    "FORMAT_VERSION",
    "HEADER_KEY",
    "CheckpointHeader",
    "ResumeState",
    "parse_header",
    "read_checkpoint_digests",
    "read_checkpoint_manifest",
    "read_checkpoint_network",
    "resume_state",
]

HEADER_KEY: Final = "hashkit"
"""Name of hashkit's text in the header."""

FORMAT_VERSION: Final = 2

_LENGTH_BYTES: Final = 8


@dataclasses.dataclass(frozen=True)
class CheckpointHeader:
    """Hashkit's part of a header.

    Attributes
    ----------
    step
        Steps done.
    config, manifest
        The settings of the run and the metadata of the model, unchecked.
    state
        What the trainer resumes from, unchecked.
    format_version
        Version of the header's format.
    trainer_sha256
        SHA-256 of the tensors of the losses and the optimiser, hexadecimal; empty in checkpoints of
        earlier versions. That of the model's tensors is in the manifest.

    Raises
    ------
    CheckpointError
        If the step is negative.
    """

    step: int
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    state: Mapping[str, Any]
    format_version: int
    trainer_sha256: str = ""

    def __post_init__(self) -> None:
        if self.step < 0:
            raise CheckpointError(f"expected a step from 0, found {self.step}")


@dataclasses.dataclass(frozen=True)
class ResumeState:
    """What a trainer resumes from besides tensors: the ``state`` of a header.

    Attributes
    ----------
    names_sha256
        Digest of the training images' names and labels.
    scaler
        State of the scaler of gradients.
    best_step, best_score, held_out
        The best snapshot, its score and the last score on held-out images, if there are any.
    without_momentum
        Trainable parameters that had no gradient yet.
    """

    names_sha256: str
    scaler: Mapping[str, Any]
    best_step: int | None
    best_score: float | None
    held_out: float | None
    without_momentum: tuple[str, ...] = ()


def resume_state(state: Mapping[str, Any], path: Path) -> ResumeState:
    """The checked state of a checkpoint, the file ``path``.

    Raises
    ------
    CheckpointError
        If a field is missing or of another type.
    """
    name = f"{path} cannot be resumed: its state"
    return dataclass_from(ResumeState, state, name=name, error=CheckpointError, may_have_more=True)


def parse_header(text: str, name: str) -> CheckpointHeader:
    """Hashkit's part of a header from its text.

    Raises
    ------
    CheckpointError
        If it is damaged, or of another format version; the message begins with ``name``.
    """
    fields = parse_json(text, name, CheckpointError, allow_nan=True)
    version = fields.get("format_version") if isinstance(fields, dict) else FORMAT_VERSION
    if version not in (None, FORMAT_VERSION):  # checked first, as other versions may differ
        raise CheckpointError(
            f"{name}: expected checkpoint format version {FORMAT_VERSION}, found {version!r}: use "
            "the hashkit release that wrote it"
        )
    return dataclass_from(CheckpointHeader, fields, name=name, error=CheckpointError)


def read_checkpoint_manifest(path: Path) -> Manifest:
    """The manifest of the model in a checkpoint; its tensors are not read.

    Raises
    ------
    CheckpointError
        If the file is missing or has no such header.
    """
    try:
        return Manifest.from_dict(_read_header(path).manifest)
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from None


def read_checkpoint_digests(path: Path) -> tuple[str, str]:
    """SHA-256 of the model's tensors and of the trainer's in the header; empty if it has none.

    Raises
    ------
    CheckpointError
        If the file is missing or has no such header.
    """
    return read_checkpoint_manifest(path).weights_sha256, _read_header(path).trainer_sha256


def read_checkpoint_network(path: Path) -> str:
    """Name of the network in a checkpoint, which is not imported.

    Raises
    ------
    CheckpointError
        If the file is missing, has no such header, or names no network.
    """
    network: str = value_from(
        str,
        _read_header(path).config.get("network"),
        name=f"{path}: the network in its settings",
        error=CheckpointError,
    )
    try:
        split_network(network)  # raises if there is no such network
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return network


def _read_header(path: Path) -> CheckpointHeader:
    try:
        with open_file(path) as file:
            reader = BinaryReader(file, CheckpointError, f"{path} is not a checkpoint of hashkit")
            (length,) = reader.numbers("<Q", "the length of a header")
            header = reader.read(length, "a header")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    name = f"{path} is not a checkpoint of hashkit, or damaged"
    fields = parse_json(header, name, CheckpointError)
    metadata = fields.get("__metadata__") if isinstance(fields, dict) else None
    text = metadata.get(HEADER_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise CheckpointError(f"{name}: expected the metadata {HEADER_KEY!r}, found none")
    return parse_header(text, name)
