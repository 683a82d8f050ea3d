"""The file metrics.jsonl of a run: the progress of its training, one JSON object per line."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashkit.errors import RunError
from hashkit.files.writing import append_whole, write_whole
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.opening import read_file
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.text import decode_text

__all__ = ["append_metrics", "read_metrics", "rewind_metrics"]


def append_metrics(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line."""
    append_whole(path, (json.dumps(entry) + "\n").encode())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines, without a last one that is incomplete; none if there is no file.

    Raises
    ------
    RunError
        If another line is not an object with a step.
    """
    try:
        data = read_file(path, "text_bytes")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from None
    lines = decode_text(data, str(path), RunError).split("\n")
    return [
        _checked_line(line, f"{path}, line {number}")
        for number, line in enumerate(lines[:-1], start=1)
        if line.strip()
    ]


def rewind_metrics(path: Path, step: int) -> None:
    """Drop the lines after ``step``; those steps will be run again."""
    kept = [entry for entry in read_metrics(path) if entry["step"] <= step]
    lines = "".join(json.dumps(entry) + "\n" for entry in kept)
    write_whole(path, lines.encode())


@dataclasses.dataclass(frozen=True)
class _Line:
    """The fields of a line that are checked; others are kept as they are."""

    step: int
    seconds: float = 0.0
    loss: float | None = None
    held_out: float | None = None


def _checked_line(line: str, name: str) -> dict[str, Any]:
    remedy = "delete this line"
    fields = parse_json(line, name, RunError, allow_nan=True, remedy=remedy)
    dataclass_from(_Line, fields, name=name, error=RunError, remedy=remedy, may_have_more=True)
    values: dict[str, Any] = fields
    return values
