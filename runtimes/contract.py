"""Checks of a graph's inputs and outputs against docs/model-contract.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from hashkit.codes import code_size
from hashkit.errors import ModelError
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.schema import value_from

__all__ = ["PRECISION_KEY", "Tensor", "check_contract", "read_precision"]

PRECISION_KEY: Final = "hashkit.precision"
"""Metadata key of the network's arithmetic, a JSON string; a missing entry means ``fp32``."""

_TYPES: Final = {"image": "tensor(uint8)", "code": "tensor(uint8)", "logit": "tensor(float)"}
_LAYOUTS: Final = {
    "image": "uint8 [N, height, width, 3]",
    "code": "uint8 [N, ceil(bits / 8)]",
    "logit": "float32 [N, bits]",
}


class Tensor(Protocol):
    """An input or output as ONNX Runtime describes it."""

    @property
    def name(self) -> str:
        """Name in the graph."""
        ...

    @property
    def type(self) -> str:
        """For example ``tensor(uint8)``."""
        ...

    @property
    def shape(self) -> Sequence[int | str | None]:
        """Integers for fixed sizes, a name or None for others."""
        ...


def check_contract(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[int, int, int]:
    """Check a graph against the contract; return its number of bits, height and width.

    Returns
    -------
    tuple
        ``(n_bits, height, width)``, from the graph's shapes.

    Raises
    ------
    ModelError
        If a tensor is missing or has another type or shape; the message names the first one.
    """
    names = [tensor.name for tensor in inputs]
    if names != ["image"]:
        raise ModelError(f"the model must have one input named image, found {_list(names)}")
    found = {tensor.name: tensor for tensor in outputs}
    for name in ("code", "logit"):
        if name not in found:
            raise ModelError(
                f"the model must have an output {name}, {_LAYOUTS[name]}; found {_list(found)}"
            )
    image, code, logit = inputs[0], found["code"], found["logit"]
    for tensor, rank in ((image, 4), (code, 2), (logit, 2)):
        _check_tensor(tensor, rank)
    _, height, width, channels = image.shape
    if not isinstance(height, int) or not isinstance(width, int) or channels != 3:
        raise _wrong_shape(image)
    n_bits = logit.shape[1]
    if not isinstance(n_bits, int):
        raise ModelError(
            f"output logit must have a fixed number of bits, found {_shape(logit)}: "
            "reshape it to a constant width before export"
        )
    size = code_size(n_bits)
    if isinstance(code.shape[1], int) and code.shape[1] != size:
        raise ModelError(
            f"output code must have {size} bytes for {n_bits} bits, found {code.shape[1]}"
        )
    return n_bits, height, width


def read_precision(metadata: Mapping[str, str]) -> str:
    """Arithmetic of the network from the model's metadata; ``fp32`` by default."""
    text, name = metadata.get(PRECISION_KEY, '"fp32"'), f"metadata {PRECISION_KEY}"
    precision: str = value_from(
        str, parse_json(text, name, ModelError), name=name, error=ModelError
    )
    return precision


def _check_tensor(tensor: Tensor, rank: int) -> None:
    if tensor.type != _TYPES[tensor.name]:
        raise ModelError(
            f"{_role(tensor)} must be {_LAYOUTS[tensor.name]}, but its type is {tensor.type}"
        )
    if len(tensor.shape) != rank:
        raise _wrong_shape(tensor)
    if isinstance(tensor.shape[0], int):
        raise ModelError(
            f"{_role(tensor)} has a fixed batch of {tensor.shape[0]}: "
            "export the model with a dynamic first dimension"
        )


def _wrong_shape(tensor: Tensor) -> ModelError:
    return ModelError(
        f"{_role(tensor)} must be {_LAYOUTS[tensor.name]}, but its shape is {_shape(tensor)}"
    )


def _role(tensor: Tensor) -> str:
    return f"{'input' if tensor.name == 'image' else 'output'} {tensor.name}"


def _shape(tensor: Tensor) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"


def _list(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
