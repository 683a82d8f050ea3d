"""Types of the values of settings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown

__all__ = ["KINDS", "checked_kind", "is_of_kind", "plain_scalar"]

KINDS: Final = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
}
"""Descriptions of the types of settings, by name."""


def plain_scalar(value: Any) -> Any:
    """A NumPy scalar as a Python number; other values unchanged."""
    is_numpy = type(value).__module__ == "numpy" and getattr(value, "size", 0) == 1
    return value.item() if is_numpy else value


def checked_kind(name: str, annotation: str, value: Any) -> Any:
    """The value of a setting, with Python's numbers in place of NumPy's.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    annotation
        Its type: one of `KINDS`, with ``| None`` if it may be None, or a tuple of one of them.

    Raises
    ------
    ConfigError
        If the value is of another type.
    """
    value = plain_scalar(value)
    kind, _, optional = annotation.partition(" | ")
    if value is None and optional:
        return value
    values: Sequence[Any] = [value]
    if kind.startswith("tuple"):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(f"`{name}` must be several numbers, not {argument_shown(value)}")
        kind = kind.removeprefix("tuple[").partition(",")[0]
        value = values = tuple(map(plain_scalar, value))
    if not all(is_of_kind(one, kind) for one in values):
        raise ConfigError(f"`{name}` must be {KINDS[kind]}, not {argument_shown(value)}")
    return value


def is_of_kind(value: Any, kind: str) -> bool:
    """Whether a value is of a kind; True and False are not numbers, and every int is a float."""
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    types = {"int": (int,), "float": (int, float), "str": (str,)}
    if kind == "float" and isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, types[kind])
