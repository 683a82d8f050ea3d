"""Ctrl-C during a training: the step that runs is completed, and the state is saved."""

from __future__ import annotations

import contextlib
from typing import Self

from hashkit.cli.console import note
from hashkit.cli.process import SIGNALS
from hashkit.signals import stopping_signals_taken

__all__ = ["StopSignal"]


class StopSignal:
    """Whether a signal to stop was received since the first step; a second one interrupts at once.

    Until the first step, when this is first called, signals are left as they are.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._is_installed = False
        self._taken = contextlib.ExitStack()

    def __call__(self) -> bool:
        """Whether to stop; takes the signals when it is first called."""
        if not self._is_installed:
            self._is_installed = True
            self._taken.enter_context(stopping_signals_taken(self._take))
        return self._has_come

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._taken.close()

    def _take(self, number: int, _frame: object) -> None:
        if self._has_come:
            raise KeyboardInterrupt
        self._has_come = True
        SIGNALS.stopped_by = number
        with contextlib.suppress(RuntimeError):  # a line was just being printed
            note("stopping after this step, and saving")
