"""Notes and progress of the workflow, for a terminal, a log, or nobody."""

from __future__ import annotations

import contextlib
import logging
from typing import Final, Protocol

from hashkit.messages.counts import plural

__all__ = ["LOGGED", "SILENT", "LateProgress", "NoteList", "ProgressBar", "Reporter", "plural"]

_logger: Final = logging.getLogger("hashkit.workflow")


class ProgressBar(Protocol):
    """Progress of one long task."""

    def update(self, done: int, detail: str = "") -> None:
        """Report how much is done, with a detail to show beside it."""
        ...


class Reporter(Protocol):
    """Takes notes and progress: any object with these two methods.

    They and `ProgressBar.update` are called in the thread that called hashkit. An exception raised
    in one of them ends the task and reaches the caller, so a program can stop a task this way. What
    was committed stays, and the same call continues the task.
    """

    def note(self, text: str) -> None:
        """Take one line of text."""
        ...

    def progress(
        self, title: str, total: int, unit: str, start: int = 0
    ) -> contextlib.AbstractContextManager[ProgressBar]:
        """Report a task of ``total`` units, ``start`` of which an earlier run did."""
        ...


class LateProgress(contextlib.ExitStack):
    """Progress of a task that is shown from its first update on, which says how long the task is.

    Parameters
    ----------
    reporter
        Shows it.
    title, unit
        See `Reporter.progress`.
    """

    def __init__(self, reporter: Reporter, title: str, unit: str) -> None:
        super().__init__()
        self._reporter = reporter
        self._title = title
        self._unit = unit
        self._bar: ProgressBar | None = None

    def update(self, done: int, total: int, detail: str = "", *, start: int = 0) -> None:
        """Report progress; ``start`` counts only in the first update."""
        if self._bar is None:
            bar = self._reporter.progress(self._title, total, self._unit, start=start)
            self._bar = self.enter_context(bar)
        self._bar.update(done, detail)


class _SilentBar:
    def update(self, done: int, detail: str = "") -> None:
        pass


class _Silent:
    def note(self, text: str) -> None:
        pass

    def progress(self, *_: object, **__: object) -> contextlib.AbstractContextManager[ProgressBar]:
        return contextlib.nullcontext(_SilentBar())


class NoteList(_Silent):
    """Keeps notes, for a job whose notes are printed elsewhere.

    Attributes
    ----------
    lines
        The notes.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


SILENT: Final[Reporter] = _Silent()
"""Drops notes and progress."""


class _Logged(_Silent):
    def note(self, text: str) -> None:
        is_warning = text.startswith("warning: ")
        level = logging.WARNING if is_warning else logging.INFO
        _logger.log(level, "%s", text.removeprefix("warning: "))


LOGGED: Final[Reporter] = _Logged()
"""Logs notes, under ``hashkit.workflow``: at level INFO, warnings at WARNING."""
