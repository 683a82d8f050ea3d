"""Values of flags, from their text."""

from __future__ import annotations

from typing import Any

from hashkit.errors import ConfigError

__all__ = ["parse_floats", "parse_integers", "parse_size"]


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of ``32`` or ``32x48``, pixels.

    Raises
    ------
    ConfigError
        If the text is neither.
    """
    parts = text.lower().split("x")
    if len(parts) in (1, 2) and all(part.isascii() and part.isdigit() for part in parts):
        return int(parts[0]), int(parts[-1])
    raise ConfigError(f"--size must be pixels, as 32 or 48x64 (height x width), not {text!r}")


def parse_floats(option: str, text: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises
    ------
    ConfigError
        If one is not a number.
    """
    return _parse(option, text, float)


def parse_integers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    Raises
    ------
    ConfigError
        If one is not a whole number.
    """
    return _parse(option, text, int)


def _parse(option: str, text: str, kind: type[Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"{option} must be numbers separated by commas, not {text!r}") from None
