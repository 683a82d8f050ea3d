"""How many threads this process may use, and one pool of them for all."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from hashkit.errors import ConfigError

__all__ = ["available_cpus", "check_threads", "run_parallel"]

Result = TypeVar("Result")


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


def run_parallel(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run tasks side by side, and give their results in order.

    The first runs in the caller's thread, the others in a pool that the process keeps, as many at
    a time as there are CPUs: starting threads anew would cost more than a small search. Only
    tasks that release Python's lock gain anything. A task must not call this function itself: it
    would wait for threads that wait for it.

    Raises
    ------
    Exception
        What the first task to fail raised, once all have stopped.
    """
    if not tasks:
        return []
    others = [_pool().submit(task) for task in tasks[1:]]
    try:
        first = tasks[0]()
    finally:
        for other in others:
            other.exception()  # waits, and leaves raising to result() below
    return [first, *(other.result() for other in others)]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cpus(), thread_name_prefix="hashkit")


if hasattr(os, "register_at_fork"):
    # A forked child has the pool's bookkeeping, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
