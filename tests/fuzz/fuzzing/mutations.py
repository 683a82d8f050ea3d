"""Damages bytes and text; the given random numbers determine everything."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

__all__ = ["MAX_BYTES", "Mutation", "mutate_bytes", "mutate_text"]

Mutation: TypeAlias = Callable[[random.Random, bytes], bytes]

MAX_BYTES: Final = 1 << 18
"""Mutated inputs are cut to this size: larger ones only cost time."""

_EXTREMES: Final = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1,
    2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_FORMATS: Final = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")

_TOKENS: Final = (
    b"NaN", b"Infinity", b"-inf", b"1e999", b"-1", b"-0", b"1.5", b"0x10", b"1_0", b"9" * 4301,
    b"1" * 21, b"18446744073709551616", b"9223372036854775808", b"2147483648", b"true", b"null",
    b"{}", b"[]", b'""', b"\0", b"\x1b[31m", b"\x1b]0;title\x07", "\u202e".encode(), b"\x85",
    "\u2028".encode(), "\ufeff".encode(), "\u0663".encode(), b"\xed\xa0\x80", b"\xff\xfe",
    b"\\ud800",
    b"\\u0000", b"\r", b"\n", b"\r\n", b"\t", b",", b";", b" ", b'"', b"'", b"#", b"%", b"../" * 5,
    b"/dev/zero", b"x" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\xf0\x9f\x98\x80",
)  # fmt: skip
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")


def mutate_bytes(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Apply one to eight random changes; ``others`` are files to splice with."""
    changed = bytearray(data)
    for _ in range(_few(rng)):
        change = rng.choice(_CHANGES)
        change(rng, changed)
        if len(changed) > MAX_BYTES:
            del changed[MAX_BYTES:]
    if others and rng.random() < 0.06:
        return _spliced(rng, bytes(changed), rng.choice(others))
    return bytes(changed)


def mutate_text(rng: random.Random, data: bytes) -> bytes:
    """Apply one to eight random changes to lines, numbers, separators and characters."""
    for _ in range(_few(rng)):
        data = rng.choice(_TEXT_CHANGES)(rng, data)[:MAX_BYTES]
    return data


def _few(rng: random.Random) -> int:
    return min(1 + int(rng.expovariate(1.0)), 8)


def _place(rng: random.Random, data: bytes | bytearray) -> int:
    """A position, half of the time among the first bytes, where headers are."""
    top = len(data) if rng.random() < 0.5 else min(len(data), 64)
    return rng.randrange(top + 1)


def _span(rng: random.Random, data: bytes | bytearray) -> tuple[int, int]:
    start = _place(rng, data)
    return start, min(len(data), start + 1 + int(rng.expovariate(1 / 16)))


def _flip(rng: random.Random, data: bytearray) -> None:
    if data:
        data[_place(rng, data) % len(data)] ^= 1 << rng.randrange(8)


def _fill(rng: random.Random, data: bytearray) -> None:
    start, stop = _span(rng, data)
    data[start:stop] = bytes([rng.choice((0, 255, 1, 32))]) * (stop - start)


def _noise(rng: random.Random, data: bytearray) -> None:
    start, stop = _span(rng, data)
    data[start:stop] = rng.randbytes(stop - start)


def _cut(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _extend(rng: random.Random, data: bytearray) -> None:
    n_bytes = rng.choice((1, 4, 512, 5000))
    data += rng.choice((bytes(n_bytes), b"\xff" * n_bytes, rng.randbytes(n_bytes)))


def _repeat(rng: random.Random, data: bytearray) -> None:
    start, stop = _span(rng, data)
    data[start:stop] = bytes(data[start:stop]) * rng.choice((2, 3, 17, 300))


def _delete(rng: random.Random, data: bytearray) -> None:
    start, stop = _span(rng, data)
    del data[start:stop]


def _move(rng: random.Random, data: bytearray) -> None:
    start, stop = _span(rng, data)
    piece = bytes(data[start:stop])
    del data[start:stop]
    at = _place(rng, data)
    data[at:at] = piece


def _number(rng: random.Random, data: bytearray) -> None:
    """Set what may be a length to an extreme value, to the size of the file, or to a neighbour."""
    kind = rng.choice(_FORMATS)
    width = struct.calcsize(kind)
    if len(data) < width:
        return
    at = min(_place(rng, data), len(data) - width)
    if rng.random() < 0.3:
        (value,) = struct.unpack_from(kind, data, at)
        value += rng.choice((-1, 1, -2, 2, 256, -value // 2, value))
    else:
        value = rng.choice((*_EXTREMES, len(data), len(data) - at))
    struct.pack_into(kind, data, at, value % (1 << 8 * width))


def _token(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at:at] = rng.choice(_TOKENS)


_CHANGES: Final = (
    _flip, _flip, _flip, _fill, _fill, _noise, _cut, _extend, _repeat, _delete, _move, _number,
    _number, _number, _token,
)  # fmt: skip


def _spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _change_bytes(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    rng.choice(_CHANGES)(rng, changed)
    return bytes(changed)


def _replace_number(rng: random.Random, data: bytes) -> bytes:
    found = list(_NUMBER.finditer(data[:20_000]))
    if not found:
        return data
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(_TOKENS) + data[one.end() :]


def _change_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\n")
    at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(to, lines[at])
    elif kind == 2:
        lines[at], lines[to] = lines[to], lines[at]
    elif kind == 3:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    else:
        lines[at] += rng.choice((b" ", b"\t", b",", b"")) + lines[to]
    return b"\n".join(lines)


def _change_separator(rng: random.Random, data: bytes) -> bytes:
    old, new = rng.sample((b" ", b"\t", b",", b";", b"\n", b"\r\n", b"", b"."), 2)
    count = rng.choice((1, 3, -1))
    return data.replace(old, new, count) if old else data


def _encode_otherwise(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(
        rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037")), "replace"
    )


_TEXT_CHANGES: Final = (
    _change_bytes, _replace_number, _replace_number, _change_lines, _change_lines,
    _change_separator, lambda rng, data: _change_bytes(rng, _replace_number(rng, data)),
    lambda rng, data: data[: _place(rng, data)] + rng.choice(_TOKENS) + data[_place(rng, data) :],
    _encode_otherwise,
)  # fmt: skip
