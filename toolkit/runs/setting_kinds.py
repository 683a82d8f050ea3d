"""Types of the values of settings."""

from __future__ import annotations

import sys
from typing import Any, Final

__all__ = ["KINDS", "is_of_kind", "plain_scalar"]

KINDS: Final = {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
}
"""Descriptions of the types of settings, by name."""


def plain_scalar(value: Any) -> Any:
    """A NumPy scalar as a Python number; other values unchanged."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def is_of_kind(value: Any, kind: str) -> bool:
    """Whether a value is of a kind; True and False are no numbers, whole numbers are floats too."""
    if kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    types = {"int": (int,), "float": (int, float), "str": (str,)}
    if kind == "float" and isinstance(value, int):
        return abs(value) <= sys.float_info.max
    return isinstance(value, types[kind])
