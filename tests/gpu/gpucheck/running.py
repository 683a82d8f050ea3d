"""Runs stages in order, each in a process with a time limit, within a total time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from gpucheck.record import write_json
from gpucheck.settings import Settings

__all__ = ["Outcome", "Stage", "run_stages"]

_KILL_MARGIN = 5.0
"""Seconds between the end of a stage's time and its kill, to write its figures."""

_CPU_LIMITS = 4.0
"""Factor on the time limit of a stage on a CPU."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the check.

    Attributes
    ----------
    name, about
        Name and short description.
    module
        Module with its function ``run(record, settings)``.
    expected
        Expected seconds on a GPU.
    least
        Minimal remaining seconds to start it.
    limit
        Seconds after which it is killed.
    prepares
        Whether the other stages need its results.
    """

    name: str
    about: str
    module: str
    expected: float
    least: float
    limit: float
    prepares: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a stage, with its record."""

    stage: Stage
    record: dict[str, Any]
    was_kept: bool = False

    @property
    def status(self) -> str:
        """``ok``, ``skipped`` or ``failed``."""
        return str(self.record["status"])

    def to_dict(self) -> dict[str, Any]:
        """The record without fields that only the runner needs."""
        fields = {name: value for name, value in self.record.items() if name != "identity"}
        plan = {"name": self.stage.name, "about": self.stage.about}
        return plan | {"expected_seconds": self.stage.expected} | fields


def run_stages(
    stages: Sequence[Stage],
    settings: Settings,
    *,
    seconds: float,
    names: Collection[str],
    again: bool = False,
    on_begin: Callable[[Stage, float], None] = lambda _, __: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run stages in order; finished stages are kept, unless ``again``.

    Parameters
    ----------
    names
        Stages to run in addition to the preparation. Existing records of the others are kept.
    seconds
        Total time: a stage gets at most the remaining time, or is skipped if that is too short.
    on_begin
        Called with a stage and its time limit in seconds.
    on_end
        Called with each outcome.
    """
    deadline = time.monotonic() + seconds
    outcomes = []
    for stage in stages:
        path = _folder(settings, "records") / f"{stage.name}.json"
        is_wanted = stage.prepares or stage.name in names
        kept = _kept(path, settings, even_if_failed=not is_wanted)
        if not is_wanted and kept is None:
            continue
        if is_wanted and again:
            kept = None
        left = deadline - time.monotonic()
        if kept is not None:
            outcome = Outcome(stage, kept, was_kept=True)
        elif not stage.prepares and not settings.environment_path.is_file():
            outcome = Outcome(stage, _record("skipped", "nothing was prepared"))
        elif left < stage.least:
            were_left = f"{max(0, left):.0f} s were left of {seconds:.0f} s"
            reason = f"{were_left}, and it needs {stage.least:.0f} s"
            outcome = Outcome(stage, _record("skipped", reason))
        else:
            # CPUs vary and may have other work; the total time still applies.
            limit = stage.limit * (_CPU_LIMITS if settings.is_small else 1)
            allowed = min(limit, left)
            on_begin(stage, allowed)
            try:
                outcome = Outcome(stage, _run(stage, settings, path, allowed))
            except KeyboardInterrupt:
                begun = (_read(path) or _record("", "")) | {"identity": settings.identity()}
                begun |= {"status": "failed", "reason": "interrupted"}
                write_json(path, begun)
                on_end(Outcome(stage, begun))
                raise
        outcomes.append(outcome)
        on_end(outcome)
    return outcomes


def _run(stage: Stage, settings: Settings, path: Path, seconds: float) -> dict[str, Any]:
    """Run one stage in its own process group, which is killed at the time limit."""
    path.unlink(missing_ok=True)
    if stage.prepares:
        settings.environment_path.unlink(missing_ok=True)
    settings_path = settings.work_path / "settings.json"
    settings.save(settings_path)
    command = [sys.executable, "-m", "gpucheck.stage", stage.module, str(settings_path), str(path)]
    log = _folder(settings, "logs") / f"{stage.name}.log"
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, f"{seconds - min(_KILL_MARGIN, seconds / 10):.2f}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(settings),
            start_new_session=True,
        )
        failed = ""
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            failed = f"killed: it ran past its limit of {seconds:.0f} s"
        finally:
            _kill_group(process)
    record = _read(path) or _record("running", "")
    record["seconds"] = round(time.monotonic() - started, 2)
    if record["status"] == "running":  # it ended without writing its outcome
        record |= {"status": "failed", "reason": failed or f"it {_how_it_ended(process)}"}
        record["identity"] = settings.identity()
        write_json(path, record)
    return record


def _environment(settings: Settings) -> dict[str, str]:
    """Environment of a stage: prepared package and wheels come before installed packages."""
    paths = [str(Path(__file__).parents[1]), *settings.environment()["paths"]]
    if before := os.environ.get("PYTHONPATH"):
        paths.append(before)
    more = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(_folder(settings, "kernels")),
        "HASHKIT_CACHE": str(_folder(settings, "cache")),
    }
    if settings.is_small:  # with tiny tensors, more threads are slower
        more["OMP_NUM_THREADS"] = "1"
    return os.environ | more


def _kept(path: Path, settings: Settings, *, even_if_failed: bool) -> dict[str, Any] | None:
    """The record of a stage with the same settings; None if there is none."""
    record = _read(path)
    if record is None or record.get("identity") != settings.identity():
        return None
    return record if record["status"] == "ok" or even_if_failed else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


def _record(status: str, reason: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "seconds": 0.0, "figures": {}, "checks": []}


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} and no outcome"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the remaining processes of a stage, including its children."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _folder(settings: Settings, name: str) -> Path:
    folder = settings.work_path / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
