"""Reports the progress of copies from object stores, which begin deep below the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, TypeAlias

__all__ = ["CopyProgress", "copies_reported", "copy_progress"]

CopyProgress: TypeAlias = Callable[[str, int, int], None]
"""Takes an address, the bytes that are copied, and the bytes in total."""

_PROGRESS: Final[ContextVar[CopyProgress | None]] = ContextVar("copy progress", default=None)


@contextlib.contextmanager
def copies_reported(progress: CopyProgress) -> Iterator[None]:
    """Report the progress of copies that this thread begins meanwhile."""
    token = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def copy_progress() -> CopyProgress | None:
    """Takes the progress of a copy that this thread begins; None if it is not reported."""
    return _PROGRESS.get()
