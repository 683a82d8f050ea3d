"""Checks the tensors of a checkpoint against their SHA-256, without PyTorch.

A safetensors file is the length of its header (uint64, little-endian), the header, JSON with type,
shape and place of each tensor, and the tensors' bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from hashkit.errors import CheckpointError
from hashkit.inputs.binary import BinaryReader
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import open_file
from hashkit.inputs.schema import value_from
from hashkit.runs.checkpoint_header import read_checkpoint_digests

__all__ = ["check_digest", "check_weights"]

_MODEL: Final = "model."
"""Prefix of the names of the model's tensors; the others are the trainer's."""

_TYPES: Final = {
    "F64": ("<f8", 8),
    "F32": ("<f4", 4),
    "F16": ("<f2", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("<i8", 8),
    "I32": ("<i4", 4),
    "I16": ("<i2", 2),
    "I8": ("|i1", 1),
    "U8": ("|u1", 1),
    "BOOL": ("|b1", 1),
}
"""NumPy's name, or torch's where it has none, and the bytes of each type of safetensors that a
checkpoint of hashkit has."""

_PIECE_BYTES: Final = 1 << 22


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Type, shape and place of a tensor, as in the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def check_weights(path: Path) -> str:
    """Check that a checkpoint is whole and its tensors have the SHA-256 of its header.

    Checkpoints of earlier versions have none for the tensors of the losses and the optimiser.

    Returns
    -------
    str
        The SHA-256 of the weights, hexadecimal.

    Raises
    ------
    CheckpointError
        If it is missing or damaged, or tensors have another SHA-256.
    """
    of_model, of_trainer = read_checkpoint_digests(path)
    try:
        with open_file(path) as file:
            reader = BinaryReader(file, CheckpointError, str(path))
            (length,) = reader.numbers("<Q", "the length of a header")
            tensors = _tensors(reader.read(length, "a header"), path)
            start = 8 + length
            n_bytes = max((tensor.data_offsets[1] for tensor in tensors.values()), default=0)
            reader.skip(n_bytes, "tensors")
            if file.read(1):
                raise CheckpointError(f"{path}: damaged: expected its end behind the tensors")
            own = {
                name.removeprefix(_MODEL): tensor
                for name, tensor in tensors.items()
                if name.startswith(_MODEL)
            }
            others = {name: one for name, one in tensors.items() if not name.startswith(_MODEL)}
            found = _digest(file, own, start)
            found_others = _digest(file, others, start) if of_trainer else ""
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    check_digest(path, "weights", of_model, found)
    check_digest(path, "tensors of losses and optimiser", of_trainer, found_others)
    return found


def check_digest(path: Path, what: str, expected: str, found: str) -> None:
    """Raise CheckpointError if tensors of a checkpoint have another SHA-256 than expected."""
    if found != expected:
        raise CheckpointError(
            f"{path}: damaged: expected {what} with the SHA-256 {expected}, found {found}: use "
            "another snapshot, or train again"
        )


def _tensors(header: bytes, path: Path) -> dict[str, _Tensor]:
    name = f"{path}: its header"
    fields = parse_json(header, name, CheckpointError)
    entries = {key: one for key, one in fields.items() if key != "__metadata__"}
    tensors: dict[str, _Tensor] = value_from(
        Mapping[str, _Tensor], entries, name=name, error=CheckpointError, may_have_more=True
    )
    for key, tensor in tensors.items():
        first, last = tensor.data_offsets
        size = _TYPES.get(tensor.dtype, ("", -1))[1] * math.prod(tensor.shape)
        if min(first, *tensor.shape, 0) < 0 or last - first != size:
            raise CheckpointError(f"{name}: the type, shape and place of {key!r} do not agree")
    return tensors


def _digest(file: BinaryIO, tensors: Mapping[str, _Tensor], start: int) -> str:
    """As `hashkit.training.checkpoint.weights_sha256` of the tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {_TYPES[tensor.dtype][0]} {list(tensor.shape)}\n".encode())
        first, last = tensor.data_offsets
        file.seek(start + first)
        for position in range(first, last, _PIECE_BYTES):
            digest.update(file.read(min(_PIECE_BYTES, last - position)))
    return digest.hexdigest()
