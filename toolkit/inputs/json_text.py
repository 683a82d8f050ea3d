"""Strict JSON (RFC 8259): no NaN, infinity, repeated key, or number beyond 64 bits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from hashkit.errors import HashkitError
from hashkit.inputs.opening import read_file
from hashkit.inputs.text import decode_text, shown

__all__ = ["json_shown", "parse_json", "read_json"]

_LARGEST: Final = 2**64
_MAX_SHOWN: Final = 60
_MAX_DIGITS: Final = 20
"""Digits of 2**64; Python refuses to convert more than 4,300, and is slow well before that."""


def read_json(path: Path, error: type[HashkitError], remedy: str = "") -> Any:
    """The value of a JSON file.

    Parameters
    ----------
    error
        The exception to raise.
    remedy
        How to fix a damaged file, for messages.

    Raises
    ------
    HashkitError
        If the file cannot be read or is not JSON; a `FileNotFoundError` is passed on, because
        callers say more about a missing file.
    """
    try:
        data = read_file(path, "json_bytes")
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise error(f"{path}: cannot be read ({fault.strerror})") from None
    return parse_json(data, str(path), error, remedy=remedy)


def parse_json(
    data: str | bytes,
    name: str,
    error: type[HashkitError],
    *,
    allow_nan: bool = False,
    remedy: str = "",
) -> Any:
    """The value of a JSON text.

    Parameters
    ----------
    data
        The text, or its bytes in UTF-8.
    name
        What the text is, for messages.
    error
        The exception to raise.
    allow_nan
        Whether NaN and infinities are allowed.
    remedy
        How to fix a damaged text, for messages.

    Raises
    ------
    HashkitError
        If it is not JSON, nested too deeply, has a key twice or a number that is not finite or
        does not fit 64 bits.
    """
    if isinstance(data, str):
        text = data
    else:
        text = decode_text(data, name, error, "JSON", remedy or "save it as UTF-8")
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=float if allow_nan else _finite,
            parse_constant=float if allow_nan else _finite,
        )
    except _JsonError as fault:
        reason = str(fault)
    except json.JSONDecodeError as fault:
        where = f"line {fault.lineno}, column {fault.colno}"
        found = f"damaged text in {where} ({fault.msg})" if text.strip() else "an empty text"
        reason = f"expected JSON, found {found}"
    except RecursionError:
        reason = "expected JSON, found values nested too deeply"
    raise error(f"{name}: {reason}{f': {remedy}' if remedy else ''}")


def json_shown(value: object) -> str:
    """A value for a message: as JSON in ASCII, at most 60 characters of it."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


class _JsonError(Exception):
    """Something that Python's parser accepts and this one does not."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _JsonError(f"expected each name once, found {shown(twice)} twice")
    return values


def _integer(text: str) -> int:
    if len(text) <= _MAX_DIGITS:
        number = int(text)
        if -_LARGEST < number < _LARGEST:
            return number
    raise _JsonError(f"expected numbers of at most 64 bits, found {shown(text)}")


def _finite(text: str) -> float:
    number = float(text)
    if math.isfinite(number):
        return number
    raise _JsonError(f"expected finite numbers, found {shown(text)}")
