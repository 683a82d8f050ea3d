"""One process trains a run at a time, and one exports it; the lock ends with the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hashkit
from hashkit.errors import HashkitError, RunError, RunLockedError
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.runs.run_lock import lock_path, locked_run

CONFIG = RunConfig(data=DataSpec("digits"), training=TrainConfig(lengths=(12,), height=8, width=8))

HOLD = """
import sys
from pathlib import Path
from hashkit.runs.run_lock import locked_run
with locked_run(Path(sys.argv[1]), "training"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_locked_once_for_each_task(tmp_path: Path, monkeypatch) -> None:
    run = Run.create(tmp_path, "first", CONFIG)
    link = tmp_path / "link"
    link.symlink_to(run.path)
    monkeypatch.chdir(run.path)
    with locked_run(run.path, "training"):
        for path in (run.path, link, Path(), Path("../first")):
            with (
                pytest.raises(
                    RunLockedError, match="another process is training this run"
                ) as caught,
                locked_run(path, "training"),
            ):
                pass
            assert "\n" not in str(caught.value)
        with locked_run(run.path, "export"), locked_run(tmp_path / "second", "training"):
            pass
    with locked_run(link, "training"):
        pass
    assert {path.name for path in run.path.iterdir()} == {"config.json", "checkpoints"}


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked_run(tmp_path / "run", "export"):
        raise KeyError
    with locked_run(tmp_path / "run", "export"):
        pass


def test_a_lock_that_cannot_be_written_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match="cannot be written") as caught,
        locked_run(tmp_path / "file" / "run", "training"),
    ):
        pass
    assert not isinstance(caught.value, RunLockedError)


def test_a_run_with_a_lock_is_still_the_newest_and_a_name_stays_free(tmp_path: Path) -> None:
    with locked_run(tmp_path / "next", "training"):
        Run.check_free(tmp_path, "next")
        run = Run.create(tmp_path, "next", CONFIG)
    assert Run.newest(tmp_path).path == run.path
    assert lock_path(run.path, "training").name == ".next.training.lock"


@pytest.mark.parametrize("part", ["", "-12bits"])
def test_training_and_exporting_a_locked_run_are_refused_before_any_work(
    tmp_path: Path, part: str
) -> None:
    run = Run.create(tmp_path, "run", CONFIG)
    if part:
        shared = SharedTraining("run", (12, 24))
        Run.create(tmp_path, "run-12bits", RunConfig(CONFIG.data, CONFIG.training, shared=shared))
    with (
        locked_run(run.path, "training"),
        pytest.raises(RunLockedError, match=r"run: another process is training this run"),
    ):
        hashkit.resume(tmp_path / f"run{part}")
    with locked_run(run.path, "export"):
        with pytest.raises(RunLockedError, match="another process is exporting this run"):
            hashkit.export(run.path)
        with pytest.raises(HashkitError, match="no checkpoint"):
            hashkit.export(run.path, tmp_path / "elsewhere.onnx")


@pytest.mark.end_to_end
def test_the_lock_of_another_process_ends_with_it(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "run", CONFIG)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunLockedError):
            hashkit.resume(run)
        holder.kill()
        holder.wait()
        with locked_run(run.path, "training"):
            pass
