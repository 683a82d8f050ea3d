"""Number of threads that this process may use, and threads that all calls share."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

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
        If it is not a whole number, or less than 1.
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

    The caller's thread runs the first task, and then those that no other thread has begun. A pool
    of waiting threads, one for each further CPU, runs the others. A task may itself call this
    function, and several threads may call it at once: a call that finds no free thread runs its
    tasks one by one. Only tasks that release Python's global lock become faster.

    Raises
    ------
    BaseException
        The exception of the first task that failed, after all tasks have run. After Ctrl-C no more
        tasks begin, and this function waits for those that have begun; if it comes while the
        function waits, it is raised at once.
    """
    if len(tasks) < 2:
        return one_by_one(tasks)
    call = _Call(tasks)
    try:
        call.ask_for_help()
        call.run_tasks()
    finally:
        call.end()
    if call.errors:
        try:
            # An interruption is more important than an error.
            raise min(call.errors, key=lambda one: (isinstance(one[1], Exception), one[0]))[1]
        finally:
            call.errors.clear()  # the raised one's traceback refers to `call`: a cycle
    return call.results


class _Call:
    """The tasks of one call of `run_parallel`, and what became of them.

    Attributes
    ----------
    results
        One per task, in order.
    errors
        Number and exception of each task that failed.
    """

    def __init__(self, tasks: Sequence[Callable[[], Any]]) -> None:
        self._tasks = tasks
        self._waiting = deque(range(len(tasks)))
        self._helps: list[_Help] = []
        self.results: list[Any] = [None] * len(tasks)
        self.errors: list[tuple[int, BaseException]] = []

    def ask_for_help(self) -> None:
        """Wake as many free threads as there are tasks for them."""
        idle = _idle_workers()
        for _ in range(len(self._tasks) - 1):
            try:
                worker = idle.pop()
            except IndexError:
                return
            one = _Help(self)
            self._helps.append(one)
            worker.give(one)

    def run_tasks(self) -> None:
        """Run the tasks that no thread has begun, one after the other."""
        while True:
            try:
                number = self._waiting.popleft()
            except IndexError:
                return
            try:
                self.results[number] = self._tasks[number]()
            except BaseException as error:
                self.errors.append((number, error))
                if not isinstance(error, Exception):
                    self._waiting.clear()

    def end(self) -> None:
        """Let no further task begin, and wait for those that have begun."""
        self._waiting.clear()
        while self._helps:  # emptied, because they refer to the call
            self._helps.pop().wait()


class _Help:
    """What one thread does for one call; nothing, if it wakes after the caller has done it all."""

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._begun, self._ended = allocate_lock(), allocate_lock()
        self._ended.acquire()

    def run(self, worker: _Worker, idle: list[_Worker]) -> None:
        """Run tasks of the call in the thread of ``worker``, which is ``idle`` afterwards."""
        is_wanted = self._begun.acquire(False)
        if is_wanted:
            self._call.run_tasks()
        idle.append(worker)  # first, so that the caller's next call finds it
        if is_wanted:
            self._ended.release()

    def wait(self) -> None:
        """Return when the thread has done its part; at once if it has not begun."""
        if not self._begun.acquire(False):
            self._ended.acquire()


class _Worker:
    """A thread that waits for work: a lock wakes it in half the time that a queue takes.

    Parameters
    ----------
    idle
        Where the worker is while it has no work.
    """

    def __init__(self, idle: list[_Worker]) -> None:
        self._idle = idle
        self._given = allocate_lock()
        self._given.acquire()
        self._help: _Help | None = None
        self._thread = threading.Thread(target=self._serve, name="hashkit", daemon=True)

    def give(self, work: _Help) -> None:
        """Wake the thread, or start it."""
        if self._thread.ident is None:
            self._thread.start()
        self._help = work
        self._given.release()

    def _serve(self) -> None:
        while True:
            self._given.acquire()
            work, self._help = self._help, None
            if work is not None:
                work.run(self, self._idle)
            del work  # its arrays would be kept until the next call


@functools.cache
def _idle_workers() -> list[_Worker]:
    """The idle workers of a pool with one for each CPU except the caller's, and at least one."""
    idle: list[_Worker] = []
    idle += [_Worker(idle) for _ in range(max(1, available_cpus() - 1))]
    return idle


if hasattr(os, "register_at_fork"):
    # A forked child inherits the workers, but none of their threads.
    os.register_at_fork(after_in_child=_idle_workers.cache_clear)
