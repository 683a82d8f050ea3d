"""Reports the progress of copies from object stores, which begin deep below the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, TypeAlias

__all__ = ["CopyProgress", "copies_reported", "copy_progress"]

CopyProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with an address, the bytes copied so far, and the bytes in total."""

_PROGRESS: Final[ContextVar[CopyProgress | None]] = ContextVar("copy progress", default=None)


@contextlib.contextmanager
def copies_reported(progress: CopyProgress) -> Iterator[None]:
    """Report the progress of copies that this thread begins within the context."""
    token = _PROGRESS.set(progress)
    try:
        yield
    finally:
        _PROGRESS.reset(token)


def copy_progress() -> CopyProgress | None:
    """The callback for a copy that this thread begins; None if progress is not reported."""
    return _PROGRESS.get()
