"""Finds nodes of an ONNX graph whose output is not a function of the image alone.

Such a node draws random numbers, or normalises an image by the others of its batch: the network was
exported in training mode. Field numbers: onnx.proto of the ONNX specification; the meaning of each
operator's inputs and attributes: its operators' reference, by opset version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from hashkit.runtimes.protobuf import Message

__all__ = ["Parts", "TrainingMode"]

Parts = Callable[[], Iterable[tuple[str, Message]]]
"""Goes through everything in a model: the kind of each message, and the message."""

_RANDOM_OPERATORS: Final = frozenset(
    {
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Sampling",
    }
)
"""Operators that draw numbers, so that an image has a different code each time."""

_DROPOUTS: Final = {
    "Dropout": (1, 2),
    "BiasDropout": (3, 4),
    "TrainableDropout": (1, 2),
    "BitmaskDropout": (1, 2),
    "BitmaskBiasDropout": (3, 4),
}
"""Operators that draw numbers in training: which inputs are the ratio and the training mode."""

_IS_TEST_UNTIL: Final = 7
_TRAINING_MODE_FROM: Final = 14
"""Opset versions of Dropout and BatchNormalization: before 7, the mode is the attribute
``is_test``, and from 14 on ``training_mode``."""

_MOST_BYTES: Final = 4096
"""Largest tensor whose values are checked: a mode is one value, and weights are long."""

_DRAWS_NUMBERS: Final = "draws random numbers"
_MIXES_IMAGES: Final = "normalises an image by the others of its batch"

_ONNX_DOMAINS: Final = frozenset({"", "ai.onnx"})


class TrainingMode:
    """Says which nodes of a model depend on chance or on other images.

    Parameters
    ----------
    model
        The model's message.
    parts
        Goes through the whole model; called once, if a node takes its mode from an input.

    Raises
    ------
    ValueError
        In every method, if a part does not follow the ONNX format.
    """

    def __init__(self, model: Message, parts: Parts) -> None:
        self._parts = parts
        self._zeros: set[str] | None = None
        entries = [entry for kind, entry in _opset_entries(model) if kind in _ONNX_DOMAINS]
        # Functions may import a version of their own; the oldest has the strictest default.
        self._opset = min((entry.number(2) for entry in entries), default=1)

    def fault(self, node: Message) -> str | None:
        """What a node does that a node in evaluation mode does not; None if nothing."""
        for operator in node.texts(4):  # of several, libraries take the last
            if operator in _RANDOM_OPERATORS:
                return _DRAWS_NUMBERS
            if operator in _DROPOUTS and self._drops_values(node, *_DROPOUTS[operator]):
                return _DRAWS_NUMBERS
            if operator == "BatchNormalization" and self._normalises_by_batch(node):
                return _MIXES_IMAGES
            if operator == "MeanVarianceNormalization" and 0 in _axes(node):
                return _MIXES_IMAGES
        return None

    def _drops_values(self, node: Message, ratio: int, mode: int) -> bool:
        if self._opset < _IS_TEST_UNTIL and not _is_test(node):
            return True
        inputs = list(node.texts(1))
        # Nodes of older versions have no such inputs.
        if len(inputs) <= mode or not inputs[mode]:
            return False
        return not (self._is_zero(inputs[mode]) or (inputs[ratio] and self._is_zero(inputs[ratio])))

    def _normalises_by_batch(self, node: Message) -> bool:
        if any(_may_be_true(attribute) for attribute in _attributes(node, "training_mode")):
            return True
        if self._opset < _IS_TEST_UNTIL:
            return not _is_test(node)
        has_statistics = sum(bool(name) for name in node.texts(2)) > 1
        return self._opset < _TRAINING_MODE_FROM and has_statistics

    def _is_zero(self, name: str) -> bool:
        """Whether a value of the graph is a constant of zeros, wherever the name is used."""
        if self._zeros is None:
            self._zeros = _zero_constants(self._parts())
        return name in self._zeros


def _opset_entries(model: Message) -> Iterable[tuple[str, Message]]:
    imports = list(model.messages(8))
    for function in model.messages(25):
        imports += function.messages(9)
    return [(entry.text(1), entry) for entry in imports]


def _zero_constants(parts: Iterable[tuple[str, Message]]) -> set[str]:
    """Names that stand for a constant of zeros in each graph and function that has them."""
    zeros: set[str] = set()
    others: set[str] = set()
    for kind, part in parts:
        if kind == "graph":
            constants = {tensor.text(8): tensor for tensor in part.messages(5)}
            for name, tensor in constants.items():
                (zeros if _is_zeros(tensor) else others).add(name)
            others |= {value.text(1) for value in part.messages(11)} - constants.keys()
        elif kind == "function":
            others |= set(part.texts(4))
        elif kind == "node":
            values = [attribute for attribute in _attributes(part, "value") if attribute.has(5)]
            is_zero = part.text(4) == "Constant" and len(values) == 1
            is_zero = is_zero and _is_zeros(values[0].message(5))
            (zeros if is_zero else others).update(part.texts(2))
    return zeros - others


def _is_zeros(tensor: Message) -> bool:
    """Whether all values of a short tensor are given, and are 0 or False."""
    if len(tensor) > _MOST_BYTES:
        return False
    values = [tensor.content(field) for field in (4, 5, 7, 9, 10)]
    numbers = [number for field in (5, 7) for number in tensor.numbers(field)]
    return any([*map(len, values), len(numbers)]) and not any(map(any, [*values, numbers]))


def _attributes(node: Message, name: str) -> list[Message]:
    return [attribute for attribute in node.messages(5) if name in attribute.texts(1)]


def _may_be_true(attribute: Message) -> bool:
    """Whether an integer attribute is not 0, or is a parameter of the function around it."""
    return any(attribute.numbers(3)) or bool(attribute.text(21))


def _is_test(node: Message) -> bool:
    """Whether an operator of opset 1 or 6 is in evaluation mode; the default is training mode."""
    found = _attributes(node, "is_test")
    return bool(found) and all(
        all(attribute.numbers(3)) and attribute.has(3) for attribute in found
    )


def _axes(node: Message) -> list[int]:
    """Axes of MeanVarianceNormalization; by default that of the batch is among them."""
    found = [axis for attribute in _attributes(node, "axes") for axis in _integers(attribute)]
    return found if _attributes(node, "axes") else [0, 2, 3]


def _integers(attribute: Message) -> list[int]:
    packed = attribute.content(8)
    return [*attribute.numbers(8), *(byte for byte in packed if byte < 0x80)]
