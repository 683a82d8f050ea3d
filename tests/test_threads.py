"""Number of threads of a process, from its affinity and from control groups of both versions."""

from __future__ import annotations

import threading
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
