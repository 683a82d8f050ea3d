"""Changes JSON documents that stay JSON: other types, extreme numbers, odd texts, keys twice."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Final

from fuzzing.mutations import mutate_text

__all__ = ["mutate_json", "mutate_json_lines", "mutate_json_text"]

_RAW: Final = "@raw@"
_DEEP: Final = 3000

_VALUES: Final = (
    None, True, False, 0, 1, -1, 2, 3, 7, 8, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53 + 1,
    2**63 - 1,
    2**63, 2**64, -(2**63) - 1, 0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e308, float("nan"), float("inf"),
    float("-inf"), "", " ", "a", "1", "0", "none", "\0", "\n", "\x1b[31mred", "\ud800", "\udcff",
    "\u202e", "\x85", "é", "x" * 5000, "/dev/zero", "../../etc", [], {}, [[]], [None], [0], [""],
    [1, 2, 3], {"": 0}, {"a": {}}, list(range(300)), f"{_RAW}{'9' * 4301}{_RAW}",
    f"{_RAW}-{'1' * 21}{_RAW}", f"{_RAW}1e999{_RAW}", f"{_RAW}{'[' * _DEEP}{']' * _DEEP}{_RAW}",
    f"{_RAW}{{{_RAW}",
)  # fmt: skip


def mutate_json(rng: random.Random, document: Any) -> str:
    """JSON text of a document with one to four values, names or items changed."""
    document = copy.deepcopy(document)
    for _ in range(min(1 + int(rng.expovariate(1.2)), 4)):
        document = _changed(rng, document)
    text = json.dumps(document, indent=rng.choice((None, None, 2)), ensure_ascii=rng.random() < 0.7)
    text = text.replace(f'"{_RAW}', "").replace(f'{_RAW}"', "").replace('\\"', '"')
    return _named_twice(rng, text) if rng.random() < 0.05 else text


def mutate_json_text(rng: random.Random, data: bytes) -> bytes:
    """Bytes of a JSON file, changed as a document or, less often, as text."""
    if rng.random() < 0.3:
        return mutate_text(rng, data)
    return mutate_json(rng, json.loads(data)).encode("utf-8", "surrogatepass")


def mutate_json_lines(rng: random.Random, data: bytes) -> bytes:
    """Bytes of a file with a JSON document per line, changed in a line or as text."""
    if rng.random() < 0.3:
        return mutate_text(rng, data)
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    changed = mutate_json(rng, json.loads(lines[at])).replace("\n", " ")
    lines[at] = changed.encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b""))


def _places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(document, dict):
        for name, value in document.items():
            found += _places(value, (*path, name))
    elif isinstance(document, list):
        for at, value in enumerate(document[:50]):
            found += _places(value, (*path, at))
    return found


def _changed(rng: random.Random, document: Any) -> Any:
    path = rng.choice(_places(document))
    if not path:
        return _value(rng) if rng.random() < 0.1 else document
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    step, kind = path[-1], rng.random()
    if kind < 0.12:
        del holder[step]
    elif kind < 0.2 and isinstance(holder, dict):
        holder[rng.choice(("", "a", f"{step} ", "\x1b[1m", "\ud800", "x" * 300))] = holder.pop(step)
    elif kind < 0.25:
        holder[step] = [copy.deepcopy(holder[step]) for _ in range(rng.choice((1, 2, 40)))]
    elif kind < 0.35 and isinstance(holder[step], int | float):
        holder[step] += rng.choice((-1, 1, 0.5, 2**31, -(2**31)))
    else:
        holder[step] = _value(rng)
    return document


def _value(rng: random.Random) -> Any:
    """A new copy of a value each time, because the next change may be inside it."""
    return copy.deepcopy(rng.choice(_VALUES))


def _named_twice(rng: random.Random, text: str) -> str:
    at = text.find('"')
    end = text.find(",", at)
    return text if min(at, end) < 0 else f"{text[:end]},{text[at:end]}{text[end:]}"
