"""Threads: their number, from affinity and control groups of both versions, and work for them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from looped import looped

from hashkit import threads
from hashkit.threads import available_cpus, cpu_affinity, cpu_quota, run_parallel


class Machine:
    """Linux's files about the control groups of a process."""

    def __init__(self, folder: Path) -> None:
        self.memberships = folder / "cgroup-of-process"
        self.mount = folder / "cgroup"
        self.mount.mkdir()

    def belong(self, *lines: str) -> None:
        self.memberships.write_text("".join(f"{line}\n" for line in lines))

    def write(self, place: str, text: str) -> None:
        path = self.mount / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def quota(self) -> float | None:
        return cpu_quota(self.memberships, self.mount)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_2_has_quota_and_period_in_one_file(machine: Machine) -> None:
    machine.belong("0::/jobs/mine")
    machine.write("jobs/mine/cpu.max", "150000 100000")
    assert machine.quota() == 1.5
    machine.write("jobs/mine/cpu.max", "max 100000")
    assert machine.quota() is None


def test_the_smallest_limit_of_a_group_and_its_parents_is_used(machine: Machine) -> None:
    machine.belong("0::/jobs/mine")
    machine.write("jobs/mine/cpu.max", "800000 100000")
    machine.write("jobs/cpu.max", "200000 100000")
    assert machine.quota() == 2
    machine.write("cpu.max", "100000 100000")
    assert machine.quota() == 1


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_quota_and_period_in_two_files(machine: Machine, folder: str) -> None:
    machine.belong("7:memory:/elsewhere", "4:cpu,cpuacct:/docker/abc", "3:cpuset:/")
    machine.write(f"{folder}/docker/abc/cpu.cfs_period_us", "50000")
    machine.write(f"{folder}/docker/abc/cpu.cfs_quota_us", "150000")
    assert machine.quota() == 3
    machine.write(f"{folder}/docker/abc/cpu.cfs_quota_us", "-1")
    assert machine.quota() is None


def test_a_container_may_see_its_own_group_as_the_root(machine: Machine) -> None:
    machine.belong("4:cpu,cpuacct:/docker/abc", "0::/docker/abc")
    machine.write("cpu/cpu.cfs_period_us", "100000")
    machine.write("cpu/cpu.cfs_quota_us", "250000")
    assert machine.quota() == 2.5


def test_other_controllers_are_ignored(machine: Machine) -> None:
    machine.belong("2:cpuacct:/mine", "1:cpuset:/mine")
    machine.write("cpuacct/mine/cpu.cfs_period_us", "100000")
    machine.write("cpuacct/mine/cpu.cfs_quota_us", "100000")
    machine.write("cpu/mine/cpu.cfs_period_us", "100000")
    machine.write("cpu/mine/cpu.cfs_quota_us", "100000")
    assert machine.quota() is None


def test_a_group_outside_the_mount_is_ignored(machine: Machine) -> None:
    machine.belong("0::/../../other")
    (machine.mount.parent / "cpu.max").write_text("100000 100000\n")
    assert machine.quota() is None


@pytest.mark.parametrize("text", ["", "max", "100000", "a b", "100000 0", "-5 100000"])
def test_files_without_a_valid_limit_are_ignored(machine: Machine, text: str) -> None:
    machine.belong("0::/", "damaged", "")
    machine.write("cpu.max", text)
    assert machine.quota() is None


def test_without_control_groups_there_is_no_limit(machine: Machine) -> None:
    assert machine.quota() is None


@looped(("quota", "expected"), [(None, 8), (0.3, 1), (1.0, 1), (1.5, 2), (8.0, 8), (64.0, 8)])
def test_threads_are_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    monkeypatch.setattr(threads, "cpu_affinity", lambda: 8)
    monkeypatch.setattr(threads, "_own_quota", lambda: quota)
    assert available_cpus() == expected


def test_this_process_has_at_least_one_cpu() -> None:
    assert 1 <= available_cpus() <= cpu_affinity()


def test_tasks_run_in_parallel_and_results_are_in_order() -> None:
    barrier = threading.Barrier(2, timeout=20)
    tasks = [lambda number=number: (barrier.wait(), number)[1] for number in range(2)]
    assert run_parallel(tasks) == [0, 1]
    assert run_parallel([]) == []
    assert run_parallel([lambda n=n: n for n in range(50 * available_cpus())])[-1] >= 49


def test_the_error_of_a_task_is_raised_after_all_have_stopped() -> None:
    done = []

    def fail() -> None:
        raise ValueError("one of them")

    with pytest.raises(ValueError, match="one of them"):
        run_parallel([fail, lambda: done.append(1)])
    with pytest.raises(ValueError, match="one of them"):
        run_parallel([lambda: done.append(2), fail])
    assert done == [1, 2]


def test_tasks_may_run_tasks_and_callers_do_not_wait_for_each_other() -> None:
    def sums(depth: int) -> int:
        return 1 if not depth else sum(run_parallel([lambda: sums(depth - 1)] * 3))

    def call() -> None:
        totals.append(sums(4))

    totals: list[int] = []
    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(20)
    assert totals == [81] * 4


def test_what_tasks_held_is_free_after_the_call() -> None:
    class Held:
        pass

    def fail(held: Held) -> None:
        raise ValueError(held)

    held = [Held(), Held()]
    alive = [weakref.ref(one) for one in held]
    with contextlib.suppress(ValueError):
        run_parallel([partial(fail, one) for one in held])
    held.clear()
    end = time.monotonic() + 20  # the other thread is a little later
    while any(one() for one in alive) and time.monotonic() < end:
        time.sleep(0.001)
    assert [one() for one in alive] == [None, None]


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(threads, "available_cpus", lambda: 2)
    threads._idle_workers.cache_clear()
    yield
    threads._idle_workers.cache_clear()


def test_an_interruption_stops_what_has_not_begun_and_waits_for_the_rest(
    one_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    done: list[str] = []
    wait = threads._Help.wait
    monkeypatch.setattr(threads._Help, "wait", lambda one: (may_end.set(), wait(one)))

    def first() -> None:
        assert begun.wait(20)
        raise KeyboardInterrupt

    def second() -> None:
        begun.set()
        assert may_end.wait(20)
        done.append("second")
        raise ValueError("less important")

    with pytest.raises(KeyboardInterrupt):
        run_parallel([first, second, lambda: done.append("third")])
    assert done == ["second"]


def test_callers_do_the_work_of_a_thread_that_is_not_free(one_worker: None) -> None:
    with_worker, may_end = threading.Barrier(2, timeout=20), threading.Event()

    def keep_busy() -> None:
        with_worker.wait()
        may_end.wait(20)

    busy = threading.Thread(target=run_parallel, args=[[with_worker.wait, keep_busy]])
    busy.start()
    while threads._idle_workers():
        time.sleep(0.001)
    names = run_parallel([lambda: threading.current_thread().name] * 3)
    may_end.set()
    busy.join()
    assert names == [threading.current_thread().name] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own() -> None:
    def together() -> list[int]:
        barrier = threading.Barrier(2, timeout=20)
        return sorted(run_parallel([barrier.wait, barrier.wait]))

    assert together() == [0, 1]
    child = os.fork()
    if not child:
        status = 1
        try:
            status = int(together() != [0, 1])
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
