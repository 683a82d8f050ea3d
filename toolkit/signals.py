"""The signals that stop a program."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["STOPPING", "stopping_signals_taken"]

STOPPING: Final = ("SIGINT", "SIGTERM", "SIGHUP")
"""Their names; a system may lack some."""


@contextlib.contextmanager
def stopping_signals_taken(handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Let a function handle the signals that stop a program; afterwards they are as before.

    Ignored signals stay ignored: ``nohup`` ignores SIGHUP, and a shell ignores SIGINT for jobs in
    the background.
    """
    numbers = (getattr(signal, name, None) for name in STOPPING)
    before = {
        number: signal.signal(number, handler)
        for number in numbers
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
