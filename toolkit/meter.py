"""Adds up work done by several threads for a progress callback."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Meter"]


class Meter:
    """Calls ``progress(done, total)`` with the total so far, from one thread at a time.

    Parameters
    ----------
    total
        Amount of work in total, in any unit.
    progress
        The callback, or None.
    """

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, amount: int) -> None:
        """Report that ``amount`` more is done."""
        with self._lock:
            self._done += amount
            if self._progress is not None:
                self._progress(self._done, self._total)
