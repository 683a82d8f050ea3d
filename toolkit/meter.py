"""Pieces of work, added up for a progress callback."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Meter"]


class Meter:
    """Calls ``progress(done, total)`` with all that is done so far, one thread at a time.

    Parameters
    ----------
    total
        All there is to do, in any unit.
    progress
        The callback; None for none.
    """

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._total = total
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, amount: int) -> None:
        """Say that ``amount`` more is done."""
        with self._lock:
            self._done += amount
            if self._progress is not None:
                self._progress(self._done, self._total)
