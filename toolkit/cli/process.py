"""The process of a command: signals, standard streams and the exit code.

It imports nothing that takes time, so that it is in place before everything else is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final, NoReturn

from hashkit.messages.os_errors import os_error_line

__all__ = ["BROKEN_PIPE", "SIGNALS", "STANDARD_OUTPUT", "run_process"]

BROKEN_PIPE: Final = 141
"""Exit code if the reader of the output ends first, the same as other programs in a pipe have."""

STANDARD_OUTPUT: Final = "standard output"
"""File name of the errors of writing results."""

_RETRY_SECONDS: Final = 0.02


def run_process(command: Callable[[], object]) -> NoReturn:
    """Run a command with safe streams and quiet signals, and end the process."""
    _open_closed_streams()
    results, sys.stderr = _Results.of(sys.stdout), _Notes.of(sys.stderr)
    sys.stdout = results
    SIGNALS.install()
    try:
        code = _code_of(command)
        with contextlib.suppress(OSError):  # kept in `failure`
            results.flush()
        if results.failure is not None:
            code = _code_of_failure(results.failure)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(SIGNALS.exit_code(code))


class _Signals:
    """What SIGINT, SIGTERM and SIGHUP do.

    Before and after the work of a command they end the process at once. During the work they raise
    KeyboardInterrupt, but never inside an import: a package that is half imported fails in its own
    way. It is then raised when the import ends; a second signal ends the process at once.

    Attributes
    ----------
    received
        The signal that has raised KeyboardInterrupt, if one has.
    stopped_by
        The signal that a command handled by itself before it ended normally.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.stopped_by: int | None = None
        self._is_working = False

    def install(self) -> None:
        """Take the signals that are not handled or ignored already (as `nohup` does)."""
        if threading.current_thread() is not threading.main_thread():
            return
        for name, default in _HANDLED_SIGNALS.items():
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is default:
                signal.signal(number, self._take)
        sys.unraisablehook = self._unraisable
        atexit.register(self._ignore)  # the first to be registered is the last to run

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let signals raise KeyboardInterrupt."""
        self._is_working = True
        try:
            yield
        finally:
            self._is_working = False

    def exit_code(self, code: int) -> int:
        """Exit code of a process that was stopped: 128 and the number of the signal."""
        number = self.received or self.stopped_by
        return 128 + number if number and code == 128 + signal.SIGINT else code

    def _take(self, number: int, frame: FrameType | None) -> None:
        if not self._is_working or (self.received is not None and _is_importing(frame)):
            os._exit(128 + number)
        self.received = number
        self._deliver(number, frame)

    def _ignore(self) -> None:
        """Ignore signals while the interpreter ends: Python's handlers no longer run at its end."""
        for name in (*_HANDLED_SIGNALS, "SIGALRM"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, signal.SIG_IGN)

    def _deliver(self, _number: int, frame: FrameType | None) -> None:
        if hasattr(signal, "setitimer") and _is_importing(frame):
            self._deliver_later()
        elif self._is_working:
            raise KeyboardInterrupt

    def _deliver_later(self) -> None:
        signal.signal(signal.SIGALRM, self._deliver)
        signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)

    def _unraisable(self, unraisable: Any) -> None:
        """Deliver an interrupt again if it came in a finaliser, where Python cannot raise it."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
        elif hasattr(signal, "setitimer"):
            self._deliver_later()


_HANDLED_SIGNALS: Final = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGHUP": signal.SIG_DFL,
}

SIGNALS: Final = _Signals()
"""The signals of this process."""


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


class _Results(io.TextIOWrapper):
    """Standard output; after a failed write, the rest is dropped."""

    failure: OSError | None = None

    @classmethod
    def of(cls, stream: Any) -> _Results:
        """Take over a text stream; what its encoding lacks is written as an escape sequence."""
        is_terminal = stream.isatty()
        return cls(stream.detach(), stream.encoding, "backslashreplace", line_buffering=is_terminal)

    def write(self, text: str, /) -> int:
        """Write text; an error names the stream."""
        with self._failing():
            return super().write(text)

    def flush(self) -> None:
        """Flush; an error names the stream."""
        with self._failing():
            super().flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = error
            error.filename = STANDARD_OUTPUT
            # What is still in the buffer would fail again when the interpreter ends.
            _replace_stream(1, os.O_WRONLY)
            raise


class _Notes(io.TextIOWrapper):
    """Standard error; work goes on without notes if they cannot be written."""

    @classmethod
    def of(cls, stream: Any) -> _Notes:
        """Take over a text stream; what its encoding lacks is written as an escape sequence."""
        return cls(stream.detach(), stream.encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Write text if possible."""
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush if possible."""
        with contextlib.suppress(OSError):
            super().flush()


def _open_closed_streams() -> None:
    """Open other standard streams for a process whose own are closed.

    The next file that is opened would otherwise take their place, and what libraries print would
    go into it. Writing results to a closed standard output is still an error.
    """
    for handle, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(handle)
        except OSError:
            _replace_stream(handle, flags)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _replace_stream(handle: int, flags: int) -> None:
    nothing = os.open(os.devnull, flags)
    if nothing == handle:
        os.set_inheritable(handle, True)
    else:
        os.dup2(nothing, handle)
        os.close(nothing)


def _code_of(command: Callable[[], object]) -> int:
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except OSError as error:  # of standard output, where no command has begun
        if error.filename != STANDARD_OUTPUT:
            raise
    return 0


def _code_of_failure(failure: OSError) -> int:
    if failure.errno == errno.EPIPE:
        return BROKEN_PIPE
    print(f"error: {os_error_line(failure)}", file=sys.stderr)
    return 1
