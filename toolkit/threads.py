"""How many threads this process may use, and one pool of them for all."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from hashkit.errors import ConfigError

__all__ = ["available_cpus", "check_threads", "cpu_affinity", "cpu_quota", "run_parallel"]

Result = TypeVar("Result")


_MEMBERSHIPS: Final = Path("/proc/self/cgroup")
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Threads that this process can keep busy: its CPUs, or fewer if its time on them is limited.

    Not the machine's core count: inside a container or under ``taskset`` the two differ, and a
    thread pool sized by the machine then spends its time switching, or stopped by the quota.
    """
    quota = _own_quota()
    return cpu_affinity() if quota is None else max(1, min(cpu_affinity(), math.ceil(quota)))


def cpu_affinity() -> int:
    """CPUs this process may run on: those of its affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def cpu_quota(
    memberships: Path = _MEMBERSHIPS, control_groups: Path = _CONTROL_GROUPS
) -> float | None:
    """CPUs' worth of time that control groups grant this process; None without a limit.

    The least of its own group's limit and those of the groups around it, in both versions of
    control groups (Linux documentation: ``cpu.max``; ``cpu.cfs_quota_us``).

    Parameters
    ----------
    memberships
        The process's groups, a line each: number, controllers, group.
    control_groups
        Where the groups are mounted.
    """
    try:
        lines = memberships.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    limits: list[float] = []
    for line in lines:
        if line.count(":") < 2:
            continue
        _, controllers, group = line.split(":", 2)
        if not controllers:  # version 2 has one group for all of them
            limits += _limits(control_groups, group)
        elif "cpu" in controllers.split(","):
            for folder in (control_groups / "cpu", control_groups / controllers):
                limits += _limits(folder, group)
    return min(limits, default=None)


@functools.cache
def _own_quota() -> float | None:
    return cpu_quota()


def _limits(mount: Path, group: str) -> Iterator[float]:
    """Limits of a group and of all that it is in; a container may see its own as the root."""
    parts = Path(group).parts[1:]
    if ".." in parts:  # a group outside of what this process can see
        parts = ()
    for depth in range(len(parts) + 1):
        folder = mount.joinpath(*parts[:depth])
        yield from _limit(folder / "cpu.max")
        yield from _limit(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _limit(*files: Path) -> Iterator[float]:
    """Quota over period; nothing without a limit, which is "max" (version 2) or -1 (version 1)."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, " ".join(path.read_text() for path in files).split())
        if quota > 0 and period > 0:
            yield quota / period


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
