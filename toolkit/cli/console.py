"""Output of commands: notes and progress on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from hashkit.files.copying import copies_reported
from hashkit.messages.visible_text import visible
from hashkit.workflow.reporter import LateProgress, ProgressBar, Reporter

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "INTERRUPTED",
    "TERMINAL",
    "all_or_nothing",
    "copies_shown",
    "emit_json",
    "emit_json_line",
    "note",
    "notes_worded",
    "progress_bar",
]

_LINE_SECONDS: Final = 5.0, 60.0
"""Time between two lines of progress: at first, and in long work."""

_LINE_SHARE: Final = 1 / 20
"""Time between two lines, as a share of the time since the work began."""

_LEAST_PER_SECOND: Final = 0.1
"""Smallest rate that is given per second; smaller ones are given per minute."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C."""


@contextlib.contextmanager
def all_or_nothing(path: Path) -> Iterator[None]:
    """Report on Ctrl-C that ``path`` is unchanged, for work that is kept only as a whole."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted; {path} is unchanged")
        raise typer.Exit(INTERRUPTED) from None


def note(text: str) -> None:
    """Print one line on standard error; control characters are made visible."""
    print(visible(text), file=sys.stderr, flush=True)


def emit_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on standard output.

    It is ASCII, which works in every encoding of a pipe, and for names that are not UTF-8.
    """
    print(json.dumps(document, indent=2), flush=True)


def emit_json_line(document: Mapping[str, Any]) -> None:
    """Print one JSON document in one line, for commands that print several as they go on."""
    print(json.dumps(document), flush=True)


@contextlib.contextmanager
def progress_bar(title: str, total: int, unit: str, start: int = 0) -> Iterator[ProgressBar]:
    """Progress with rate and time left: a bar on a terminal, lines elsewhere.

    Parameters
    ----------
    start
        Units that an earlier run did; the rate leaves them out.
    """
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} {task.fields[detail]}", markup=False),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            yield _TerminalBar(progress, title, total, unit, start)
    else:
        lines = _PlainLines(title, total, unit, start)
        yield lines
        lines.finish()


@contextlib.contextmanager
def copies_shown() -> Iterator[None]:
    """Show the progress of bank sets that are copied from an object store meanwhile."""
    bars: dict[str, LateProgress] = {}

    def show(url: str, done: int, total: int) -> None:
        unit, size = ("MB", 10**6) if total >= 10**7 else ("KB", 10**3)
        if url not in bars:
            bars[url] = LateProgress(TERMINAL, f"copying {url}", unit)
        bars[url].update(-(-done // size), -(-total // size))
        if done >= total:
            bars.pop(url).close()

    try:
        with copies_reported(show):
            yield
    finally:
        for bar in bars.values():
            bar.close()


class _Terminal:
    """The reporter of the command line."""

    def __init__(self) -> None:
        self.wording: Callable[[str], str] = str

    def note(self, text: str) -> None:
        note(self.wording(text))

    def progress(
        self, title: str, total: int, unit: str, start: int = 0
    ) -> contextlib.AbstractContextManager[ProgressBar]:
        return progress_bar(title, total, unit, start)


_TERMINAL: Final = _Terminal()
TERMINAL: Final[Reporter] = _TERMINAL
"""Notes and progress on standard error."""


@contextlib.contextmanager
def notes_worded(wording: Callable[[str], str]) -> Iterator[None]:
    """Print the notes of the package in other words: with the flags of the command that runs."""
    _TERMINAL.wording, before = wording, _TERMINAL.wording
    try:
        yield
    finally:
        _TERMINAL.wording = before


class _Rate:
    def __init__(self, start: int) -> None:
        self._start = start
        self._began = time.perf_counter()

    def of(self, done: int) -> float:
        return (done - self._start) / max(time.perf_counter() - self._began, 1e-9)

    def text(self, done: int, unit: str) -> str:
        rate = self.of(done)
        if 0 < rate < _LEAST_PER_SECOND:
            return f"{60 * rate:.2g} {unit}/min"
        return f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s"

    def text_and_left(self, done: int, total: int, unit: str) -> str:
        rate = self.of(done)
        if rate <= 0:
            return ""
        return f"{self.text(done, unit)}, {_duration((total - done) / rate)} left"


class _PlainLines:
    """A line every few seconds, later less often, and one at the end."""

    def __init__(self, title: str, total: int, unit: str, start: int) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._rate = _Rate(start)
        self._done, self._detail = start, ""
        self._start = start
        self._began = self._printed = time.perf_counter()

    def update(self, done: int, detail: str = "") -> None:
        self._done, self._detail = done, detail
        now = time.perf_counter()
        least, most = _LINE_SECONDS
        wait = min(max(least, _LINE_SHARE * (now - self._began)), most)
        if now - self._printed >= wait and done < self._total:
            self._print(self._rate.text_and_left(done, self._total, self._unit))

    def finish(self) -> None:
        if self._done > self._start:
            self._print(self._rate.text(self._done, self._unit))

    def _print(self, text: str) -> None:
        parts = [f"{self._title}: {self._done:,} of {self._total:,} {self._unit}", text]
        note(", ".join(part for part in [*parts, self._detail] if part))
        self._printed = time.perf_counter()


class _TerminalBar:
    def __init__(self, progress: Progress, title: str, total: int, unit: str, start: int) -> None:
        self._progress, self._total, self._unit = progress, total, unit
        self._rate = _Rate(start)
        title = visible(title)
        self._task = progress.add_task(title, total=total, completed=start, rate="", detail="")

    def update(self, done: int, detail: str = "") -> None:
        rate = self._rate.text_and_left(done, self._total, self._unit)
        self._progress.update(self._task, completed=done, rate=rate, detail=visible(detail))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
