"""Which run and which model a command works with."""

from __future__ import annotations

from pathlib import Path

from hashkit.cli.console import note
from hashkit.errors import RunError
from hashkit.runs import Run

__all__ = ["find_model", "find_run", "run_model"]


def find_run(run: Path | None, runs: Path) -> Run:
    """The run that was asked for, else the newest, which is said.

    Raises
    ------
    RunError
        If there is none.
    """
    if run is not None:
        return Run.open(run)
    newest = Run.newest(runs)
    note(f"using the newest run, {newest.path}")
    return newest


def find_model(model: Path | None, run: Path | None, runs: Path) -> Path:
    """The model that was asked for, else the run's.

    Raises
    ------
    RunError
        If the run has none yet.
    """
    return model if model is not None else run_model(find_run(run, runs))


def run_model(run: Run) -> Path:
    """The exported model of a run.

    Raises
    ------
    RunError
        If it has none yet.
    """
    if not run.model_path.is_file():
        raise RunError(f"{run.path} has no model yet: hashkit export --onnx --run {run.path}")
    return run.model_path
