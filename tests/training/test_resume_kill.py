"""A run that is killed at any moment and resumed ends with the bytes of an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slow_train import CONFIG
from training_samples import WALL_TIME, checkpoint_files

from hashkit.runs.run import Run

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]


@pytest.fixture(scope="module")
def train():
    """Function that resumes a run in slow_train.py and returns whether it was killed."""
    script = Path(__file__).parents[1] / "support" / "slow_train.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def resume(path: Path, seconds: float | None = None) -> bool:
            print(
                json.dumps({"path": str(path), "seconds": seconds}), file=process.stdin, flush=True
            )
            return json.loads(process.stdout.readline())["killed"]

        assert process.stdout.readline() == "ready\n"
        yield resume
        process.stdin.close()


@pytest.fixture(scope="module")
def unkilled(train, tmp_path_factory):
    """An uninterrupted run and its duration in seconds."""
    path = tmp_path_factory.mktemp("runs") / "unkilled"
    start = time.perf_counter()
    assert not train(path)
    return Run.open(path), time.perf_counter() - start


def metrics(run: Run) -> list[dict]:
    """Metrics of a run without the values that depend on the clock."""
    return [
        {name: value for name, value in line.items() if name not in WALL_TIME}
        for line in run.read_metrics()
    ]


def kill_until_finished(path: Path, train, seconds: float, rng: random.Random) -> list[int]:
    """Kill at random moments and resume; returns the last snapshot's step at each kill."""
    steps: list[int] = []
    # The time to a kill grows, so that this ends on a machine of any speed.
    while train(path, rng.uniform(0.05, 0.3 + 0.02 * len(steps)) * seconds):
        snapshots = Run(path).snapshots()
        steps.append(snapshots[-1][0] if snapshots else 0)
    return steps


def check_same(path: Path, unkilled) -> None:
    expected, _ = unkilled
    run = Run.open(path)
    assert checkpoint_files(run) == checkpoint_files(expected)
    assert run.best_path.is_file()
    assert [step for step, _ in run.snapshots()] == [56, 58, 60]
    assert metrics(run) == metrics(expected)
    assert sum("held_out" in line for line in metrics(run)) == 15
    assert len(metrics(run)) == 15 + CONFIG["steps"] // CONFIG["display_steps"]


def kill_and_check(folder: Path, train, unkilled, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    # Kill earlier if the machine became much faster since the uninterrupted run.
    for index, share in enumerate((1, 1 / 3, 1 / 9)):
        path = folder / str(index)
        steps = kill_until_finished(path, train, unkilled[1] * share, rng)
        assert steps == sorted(steps)
        check_same(path, unkilled)
        if len({step for step in steps if step}) >= 2:
            return
    pytest.fail("no run was killed after two different snapshots")


def test_kills_at_random_moments_change_nothing(tmp_path, train, unkilled):
    kill_and_check(tmp_path, train, unkilled, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_more_kills_at_random_moments_change_nothing(tmp_path, train, unkilled, seed):
    kill_and_check(tmp_path, train, unkilled, seed)
