"""Number of threads that this process may use, and one shared thread pool."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

from hashkit.inputs.arguments import whole_number

__all__ = [
    "Together",
    "available_cpus",
    "check_threads",
    "cpu_affinity",
    "cpu_quota",
    "one_by_one",
    "run_parallel",
]

Result = TypeVar("Result")


_MEMBERSHIPS: Final = Path("/proc/self/cgroup")
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """Number of threads that this process can keep busy: its CPUs, or fewer under a CPU quota.

    In a container or under ``taskset`` this is less than the machine's core count. A thread pool
    sized by the core count would then waste time switching, or be throttled by the quota.
    """
    quota = _own_quota()
    return cpu_affinity() if quota is None else max(1, min(cpu_affinity(), math.ceil(quota)))


def cpu_affinity() -> int:
    """Number of CPUs in this process's affinity mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def cpu_quota(
    memberships: Path = _MEMBERSHIPS, control_groups: Path = _CONTROL_GROUPS
) -> float | None:
    """CPU time that control groups grant this process, in CPUs; None without a limit.

    It is the smallest limit of the process's own group and its parents, in both versions of control
    groups (Linux documentation: ``cpu.max``; ``cpu.cfs_quota_us``).

    Parameters
    ----------
    memberships
        File with one line per group of the process: number, controllers, group.
    control_groups
        Folder where the groups are mounted.
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
        if not controllers:  # version 2 has one group for all controllers
            limits += _limits(control_groups, group)
        elif "cpu" in controllers.split(","):
            for folder in (control_groups / "cpu", control_groups / controllers):
                limits += _limits(folder, group)
    return min(limits, default=None)


@functools.cache
def _own_quota() -> float | None:
    return cpu_quota()


def _limits(mount: Path, group: str) -> Iterator[float]:
    """Limits of a group and its parents; in a container, its own group may be the root."""
    parts = Path(group).parts[1:]
    if ".." in parts:  # a group that this process cannot see
        parts = ()
    for depth in range(len(parts) + 1):
        folder = mount.joinpath(*parts[:depth])
        yield from _limit(folder / "cpu.max")
        yield from _limit(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def _limit(*files: Path) -> Iterator[float]:
    """Yield quota / period; nothing if there is no limit: "max" (version 2) or -1 (version 1)."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = map(int, " ".join(path.read_text() for path in files).split())
        if quota > 0 and period > 0:
            yield quota / period


def check_threads(n_threads: int | None, what: str) -> int:
    """Return ``n_threads`` if it is at least 1; `available_cpus` if it is None.

    Raises
    ------
    ConfigError
        If it is no whole number, or less than 1.
    """
    return available_cpus() if n_threads is None else whole_number(n_threads, what, 1)


class Together(Protocol):
    """Runs tasks, at the same time or not, and returns their results in order."""

    def __call__(self, tasks: Sequence[Callable[[], Result]], /) -> list[Result]:
        """The results of all tasks; raises if one fails."""
        ...


def one_by_one(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """The results of tasks that run one after the other."""
    return [task() for task in tasks]


def run_parallel(tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run tasks in parallel, and return their results in order.

    The first task runs in the caller's thread, the others in a pool with one thread per CPU. The
    pool lives as long as the process, because starting threads for each call would cost more than a
    small search. Only tasks that release Python's global lock become faster. A task must not call
    this function: it could deadlock.

    Raises
    ------
    Exception
        The exception of the first task that failed, after all tasks have stopped.
    """
    if not tasks:
        return []
    others = [_pool().submit(task) for task in tasks[1:]]
    try:
        first = tasks[0]()
    finally:
        for other in others:
            other.exception()  # waits, without raising; result() below raises
    return [first, *(other.result() for other in others)]


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cpus(), thread_name_prefix="hashkit")


if hasattr(os, "register_at_fork"):
    # A forked child inherits the pool object, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
