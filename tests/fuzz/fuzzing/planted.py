"""Readers with faults, which prove that the harness finds such faults."""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from fuzzing.subject import Subject
from hashkit.errors import CodesError

__all__ = ["PLANTED_SUBJECTS"]

_EVERY = 7
"""Roughly one case of so many has the fault."""


def _planted(fault: Callable[[], None]) -> Callable[[Path], Subject]:
    def make(folder: Path) -> Subject:
        def read(path: Path, _: random.Random) -> None:
            if sum(path.read_bytes()) % _EVERY == 0:
                fault()
            raise CodesError(f"{path}: expected nothing")

        return Subject(folder / "planted", [bytes(range(40))], read)

    return make


def _key_error() -> None:
    raise KeyError("planted")


def _take_memory() -> None:
    bytearray(5 << 30)


def _hang() -> None:
    while True:
        pass


def _crash() -> None:
    os.abort()


def _warn() -> None:
    warnings.warn("planted", stacklevel=1)


def _print() -> None:
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"planted\n")


class _RawError(CodesError):
    """An error that shows its text as it is."""

    __str__ = Exception.__str__


def _two_lines() -> None:
    raise _RawError("planted\nin two lines")


def _escape() -> None:
    raise _RawError("planted \x1b[31m")


def _sleep() -> None:
    time.sleep(0)


PLANTED_SUBJECTS = {
    "planted-exception": _planted(_key_error),
    "planted-memory": _planted(_take_memory),
    "planted-hang": _planted(_hang),
    "planted-crash": _planted(_crash),
    "planted-warning": _planted(_warn),
    "planted-output": _planted(_print),
    "planted-lines": _planted(_two_lines),
    "planted-escape": _planted(_escape),
    "planted-nothing": _planted(_sleep),
}
