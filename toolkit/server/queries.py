"""What a client wants to search for: the parameters of an address, and the body."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import QueryParams

from hashkit.errors import HashkitError
from hashkit.imaging.formats import format_of
from hashkit.inputs.json_text import json_shown, parse_json
from hashkit.server.failures import RequestError

__all__ = ["SearchOptions", "Start", "checked_parameters", "search_options", "start_of", "whole"]

_MOST_DIGITS: Final = 12
_MOST_JSON_BYTES: Final = 100_000
"""The longest code has 16,384 hexadecimal digits."""

_STARTS: Final = ("code", "row", "name")


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """How to search; equal options can share a search.

    Attributes
    ----------
    k
        Largest number of hits.
    radius
        Largest distance, bits; None for any.
    labels
        Classes to which the hits belong; empty for all.
    rerank, oversample
        As for `hashkit search`.
    """

    k: int
    radius: int | None = None
    labels: tuple[str, ...] = ()
    rerank: bool = False
    oversample: int | None = None


@dataclasses.dataclass(frozen=True)
class Start:
    """The start of a search without an image; one of the three is not None."""

    code: str | None = None
    row: int | None = None
    name: str | None = None


def checked_parameters(params: QueryParams, *known: str, several: str = "") -> Mapping[str, str]:
    """The parameters of an address by name; the last value of one that is given several times.

    Parameters
    ----------
    known
        Their names.
    several
        The one of them that may be given several times.

    Raises
    ------
    RequestError
        If one is unknown, or is given twice.
    """
    for name in params:
        if name not in known:
            listed = f"known: {', '.join(known)}" if known else "this address has none"
            raise RequestError(400, f"unknown parameter {name[:40]!r}; {listed}")
        if name != several and len(params.getlist(name)) > 1:
            raise RequestError(400, f"expected the parameter {name} once, found it several times")
    return params


def search_options(params: QueryParams, max_k: int, n_bits: int) -> SearchOptions:
    """The options of a search in codes of ``n_bits`` bits.

    Raises
    ------
    RequestError
        If one is unknown or invalid.
    """
    parameters = checked_parameters(
        params, "k", "radius", "label", "rerank", "oversample", several="label"
    )
    radius = _optional(parameters, "radius", 0, n_bits)
    rerank = parameters.get("rerank", "0")
    if rerank not in ("0", "1"):
        raise RequestError(422, f"expected rerank=1 or rerank=0, found {rerank[:40]!r}")
    oversample = _optional(parameters, "oversample", 1, 1_000)
    if oversample is not None and (rerank == "0" or radius is not None):
        raise RequestError(422, "oversample needs rerank=1 and cannot be combined with radius")
    # All images within a radius, up to the limit, unless fewer are asked for.
    k = _optional(parameters, "k", 1, max_k) or (10 if radius is None else max_k)
    return SearchOptions(k, radius, tuple(params.getlist("label")), rerank == "1", oversample)


def start_of(body: bytes) -> Start:
    """The code, row or name that a JSON body asks to start from.

    Raises
    ------
    RequestError
        If it is something else.
    """
    if len(body) > _MOST_JSON_BYTES:
        raise RequestError(413, f"expected JSON of at most {_MOST_JSON_BYTES:,} bytes, found more")
    if format_of(body) is not None:
        raise RequestError(
            415,
            "expected JSON, as the header Content-Type says, found an image file: send another"
            " type, such as application/octet-stream",
        )
    document: Any = _parsed(body)
    how = 'expected a JSON object with one of "code", "row" and "name"'
    if not isinstance(document, dict):
        raise RequestError(422, f"{how}, found {json_shown(document)}")
    if len(document) != 1 or not set(document) <= {*_STARTS}:
        found = ", ".join(json_shown(name) for name in sorted(document)[:5]) or "an empty one"
        raise RequestError(422, f"{how}, found {found}")
    ((name, value),) = document.items()
    is_right = type(value) is int if name == "row" else isinstance(value, str)
    if not is_right:
        kind = "a whole number" if name == "row" else "a text"
        raise RequestError(422, f'expected "{name}" to be {kind}, found {json_shown(value)}')
    return Start(**{name: value})


def whole(text: str, name: str, low: int, high: int) -> int:
    """A whole number from a text.

    Raises
    ------
    RequestError
        If it is not a number, or out of range.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and low <= int(text) <= high:
        return int(text)
    raise RequestError(
        422, f"expected {name} to be a whole number from {low} to {high:,}, found {text[:40]!r}"
    )


def _optional(parameters: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    return whole(parameters[name], name, low, high) if name in parameters else None


class _JsonError(HashkitError):
    """A body that is not JSON."""


def _parsed(body: bytes) -> Any:
    try:
        return parse_json(body, "the body", _JsonError)
    except _JsonError as error:
        raise RequestError(400, str(error)) from None
