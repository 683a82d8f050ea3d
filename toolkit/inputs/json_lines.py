"""Reads files of one JSON object per line, which a killed process may have left incomplete."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from hashkit.errors import HashkitError
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import read_file
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.text import decode_text
from hashkit.messages.os_errors import cannot_read

__all__ = ["read_json_lines"]

T = TypeVar("T")


def read_json_lines(
    path: Path, kind: type[T], error: type[HashkitError], *, what: str, remedy: str
) -> list[T]:
    """Read a file as dataclasses, one per line; none if there is no such file.

    An incomplete last line, left by a killed process, is ignored.

    Parameters
    ----------
    kind
        The dataclass of a line.
    error
        The exception to raise.
    what
        What the file is, for messages.
    remedy
        How to fix a damaged line, for messages.

    Raises
    ------
    HashkitError
        If the file cannot be read, or any other line is not such an object.
    """
    try:
        data = read_file(path, "text_bytes")
    except FileNotFoundError:
        return []
    except OSError as fault:
        raise error(cannot_read(fault, path)) from None
    values = []
    for at, line in enumerate(decode_text(data, str(path), error, what).split("\n")[:-1], start=1):
        name = f"{path}, line {at}"
        fields = parse_json(line, name, error, remedy=remedy)
        values.append(dataclass_from(kind, fields, name=name, error=error, remedy=remedy))
    return values
