"""Writers killed at any moment: the bank opens with its committed rows and can be continued."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bank_edits import EDITS, edits_done, run_edits
from bank_samples import (
    DELETIONS,
    LISTS,
    assert_is_prefix,
    content_of,
    deletions_done,
    run_deletions,
    run_job,
)

from hashkit.bank import editor as bank_editor
from hashkit.bank import layout
from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.files.private import is_private_name

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

N_IMAGES = sum(map(len, LISTS.values()))


@pytest.fixture(scope="module")
def crash():
    """A function that sends one request to bank_crash.py and returns its answer."""
    script = Path(__file__).parents[1] / "support" / "bank_crash.py"
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def request(path: Path, **options: float | str) -> dict[str, bool]:
            print(json.dumps({"path": str(path), **options}), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield request
        process.stdin.close()


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    path = tmp_path_factory.mktemp("unkilled") / "bank.h5"
    run_job(path)
    with Bank.open(path) as bank:
        assert bank.is_complete
        assert assert_is_prefix(bank) == N_IMAGES
    return content_of(path)


def check_survivor(path: Path) -> int:
    """Check a bank whose writer was killed; returns the number of images it had processed."""
    if not path.exists():
        return 0
    with Bank.open(path) as bank:
        return assert_is_prefix(bank)


def finish(path: Path) -> dict[str, object]:
    run_job(path)
    leftovers = {file.name for file in path.parent.glob(f"*{path.name}*")}
    assert leftovers == {path.name, f"{path.name}.lock"}
    return content_of(path)


def is_finished(path: Path) -> bool:
    """Whether a bank has both lists of `run_job` and is complete, so that no writer is needed."""
    if not path.exists():
        return False
    with Bank.open(path) as bank:
        return bank.is_complete and len(bank.sources) == 2


def kill_at_each_step(path: Path, crash, unkilled: dict[str, object], stride: int) -> None:
    least, n_kills, n_in_rebuild = 0, 0, 0
    for step in range(1, 1_000, stride):
        path.unlink(missing_ok=True)
        answer = crash(path, step=step)
        n_kills += answer["killed"]
        has_private = any(is_private_name(one.name, path.name) for one in path.parent.iterdir())
        n_in_rebuild += has_private
        assert not (has_private and is_finished(path))  # no later writer would remove it
        done = check_survivor(path)
        # A later kill never leaves fewer rows.
        assert done >= least
        least = done
        if step % 5 == 0 or not answer["killed"]:
            assert finish(path) == unkilled
        if not answer["killed"]:
            break
    assert not answer["error"]
    assert n_kills > 80 // stride
    assert n_in_rebuild > 40 // stride


def test_a_kill_at_an_eighth_of_all_steps_keeps_what_was_committed(tmp_path, crash, unkilled):
    kill_at_each_step(tmp_path / "bank.h5", crash, unkilled, stride=8)


@pytest.mark.slow
def test_a_kill_at_any_step_keeps_what_was_committed(tmp_path, crash, unkilled):
    kill_at_each_step(tmp_path / "bank.h5", crash, unkilled, stride=1)


def test_every_kill_in_a_chain_loses_nothing(tmp_path, crash, unkilled):
    path = tmp_path / "bank.h5"
    least = 0
    for _ in range(100):
        answer = crash(path, step=23)
        done = check_survivor(path)
        assert done >= least
        least = done
        if not answer["killed"]:
            break
    assert not answer["error"]
    assert finish(path) == unkilled


def kill_at_random(path: Path, crash, unkilled: dict[str, object], n_kills: int, seed: int) -> None:
    started = time.perf_counter()
    run_job(path.with_name("timed.h5"))
    whole = time.perf_counter() - started
    rng = random.Random(seed)  # noqa: S311
    least, caught = 0, 0
    for _ in range(n_kills):
        answer = crash(path, seconds=rng.uniform(0, whole * 0.7))
        caught += answer["killed"]
        done = check_survivor(path)
        assert done >= least
        least = done
        if done == N_IMAGES:
            assert finish(path) == unkilled
            path.unlink()
            least = 0
    assert finish(path) == unkilled
    assert caught > n_kills / 2


def test_kills_at_random_moments(tmp_path, crash, unkilled):
    kill_at_random(tmp_path / "bank.h5", crash, unkilled, n_kills=40, seed=1)


@pytest.mark.slow
def test_many_kills_at_random_moments(tmp_path, crash, unkilled):
    kill_at_random(tmp_path / "bank.h5", crash, unkilled, n_kills=1_000, seed=2)


# Deleted rows


@pytest.mark.parametrize(
    "version",
    [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3],
)
def test_a_kill_at_any_step_leaves_a_whole_number_of_deletions(
    tmp_path, crash, version, monkeypatch
):
    """Includes version 1, where the first deletion replaces the file."""
    source, path = tmp_path / "source.h5", tmp_path / "bank.h5"
    monkeypatch.setattr(layout.create_file, "__defaults__", (version,))
    run_job(source)
    monkeypatch.undo()
    least = 0
    for step in range(1, 100):
        path.write_bytes(source.read_bytes())
        answer = crash(path, step=step, job="deletions")
        done = deletions_done(path)
        assert done >= least
        least = done
        check_survivor(path)
        run_deletions(path)
        assert deletions_done(path) == len(DELETIONS) - 1
        assert check_survivor(path) == N_IMAGES
        if not answer["killed"]:
            break
    assert not answer["error"]
    assert step > 4 * (len(DELETIONS) - 1)


def test_deletions_survive_a_killed_writer(tmp_path, crash):
    """The bank grows and is compacted while some of its rows are deleted."""
    path = tmp_path / "bank.h5"
    crash(path, step=20)
    delete_rows(path, [0, 2])
    begun = path.read_bytes()
    for step in range(1, 400, 5):
        path.write_bytes(begun)
        crash(path, step=step)
        with Bank.open(path) as bank:
            assert bank.deleted is not None
            assert np.flatnonzero(bank.deleted).tolist() == [0, 2]
        if bank.is_complete and len(bank.sources) == 2:
            break
    assert check_survivor(path) == N_IMAGES


# Edits of a bank in use


@pytest.mark.parametrize(
    ("version", "stride"),
    [
        (1, 13),
        (2, 13),
        (3, 5),
        pytest.param(1, 1, marks=pytest.mark.slow),
        pytest.param(2, 1, marks=pytest.mark.slow),
        pytest.param(3, 1, marks=pytest.mark.slow),
    ],
)
def test_a_kill_at_any_step_leaves_a_whole_number_of_edits(
    tmp_path, crash, version, stride, monkeypatch
):
    """New rows and deletions of one edit are all there or none; the bank grows meanwhile."""
    source, path = tmp_path / "source.h5", tmp_path / "bank.h5"
    monkeypatch.setattr(layout.create_file, "__defaults__", (version,))
    run_job(source)
    monkeypatch.undo()
    monkeypatch.setattr(bank_editor, "_LEAST_ROWS", 1)
    monkeypatch.setattr(bank_editor, "_LEAST_NAME_BYTES", 1)
    least, seen = 0, set()
    for step in range(1, 400, stride):
        path.write_bytes(source.read_bytes())
        answer = crash(path, step=step, job="edits")
        done = edits_done(path)
        assert done >= least
        least = done
        seen.add(done)
        if not answer["killed"]:
            break
        if step % 4 == 1:
            run_edits(path)
            assert edits_done(path) == len(EDITS)
            assert not list(tmp_path.glob(".*.hashkit-part"))
    assert not answer["error"]
    assert {0, len(EDITS)} < seen
    assert step > 60
