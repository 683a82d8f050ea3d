"""Waiting for processes that tests start, and checking that one has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE = 60
"""Longest time that anything may take on a busy machine, seconds."""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process that was running has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A process whose parent has not waited for it remains as a zombie.
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return not status.parent.exists() and status.parent.parent.exists()
