"""Numbers in text: integers as programs write them, ``3``, ``3.0`` or ``3.000e+00``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_number", "whole_number"]

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_MAX_DIGITS: Final = 19
"""Digits of the largest 64-bit integer; Python refuses to convert more than 4,300."""
_LARGEST: Final = 2**63 - 1
_LARGEST_EXACT: Final = 2**53
"""Beyond it a float may stand for several integers."""


def is_number(text: str) -> bool:
    """Whether a text is a decimal number, with or without a fraction or an exponent."""
    return _NUMBER.fullmatch(text) is not None


def whole_number(text: str) -> int | None:
    """The integer that a text stands for; None if it is not one, or does not fit 64 bits."""
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-").lstrip("0") or "0"
        if len(digits) > _MAX_DIGITS:
            return None
        number = -int(digits) if text.startswith("-") else int(digits)
        return number if -_LARGEST - 1 <= number <= _LARGEST else None
    if not is_number(text):
        return None
    value = float(text)
    return int(value) if abs(value) <= _LARGEST_EXACT and value.is_integer() else None
