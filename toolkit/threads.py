"""How many threads this process may use."""

from __future__ import annotations

import os

from hashkit.errors import ConfigError

__all__ = ["available_cpus", "check_threads"]


def available_cpus() -> int:
    """CPU cores this process may run on.

    The affinity mask, not the machine's core count: inside a container or under ``taskset``
    the two differ, and a thread pool sized by the machine then spends its time switching.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def check_threads(n_threads: int | None, what: str) -> int:
    """``n_threads`` if it is given and at least 1; `available_cpus` if it is None.

    Raises
    ------
    ConfigError
        If it is less than 1.
    """
    if n_threads is None:
        return available_cpus()
    if n_threads < 1:
        raise ConfigError(f"{what} must be at least 1, not {n_threads}")
    return n_threads
