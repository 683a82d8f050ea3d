"""Measures models in separate processes, each of which starts fresh and may crash."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, Literal, TypeAlias

from hashkit.runtimes.measuring.measuring import Measurement, MeasuringJob

__all__ = ["WORKER", "Outcome", "measure_apart"]

WORKER: Final = "hashkit.runtimes.measuring.worker"
"""Module that runs in the measuring process."""

_GRACE_SECONDS: Final = 5.0

OutcomeStatus: TypeAlias = Literal["ok", "absent", "failed"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a measuring process ended.

    Attributes
    ----------
    status
        ``ok``; ``absent``: runtime or device is not available; ``failed``: it is, but failed.
    measurement
        The measurement if ``ok``, otherwise None.
    reason
        One line if not ``ok``, otherwise empty.
    """

    status: OutcomeStatus
    measurement: Measurement | None = None
    reason: str = ""


def measure_apart(
    job: MeasuringJob,
    *,
    n_starts: int,
    timeout_seconds: float,
    worker: str = WORKER,
    step: Callable[[str], None] | None = None,
) -> Outcome:
    """Measure a model in fresh processes, one after another; their failures are outcomes.

    Parameters
    ----------
    job
        What to measure.
    n_starts
        Processes. All but the last measure only the start. The result has the median of all
        starts, so that a first start without cached files does not decide.
    timeout_seconds
        Time after which a process is killed.
    worker
        Module to run: one that calls `hashkit.runtimes.measuring.worker.serve`.
    step
        Called after each step with its name.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, after the process has ended.
    """
    starts: list[float] = []
    for number in range(1, n_starts + 1):
        job_of_process = dataclasses.replace(job, only_start=number < n_starts)
        outcome = _run(job_of_process, timeout_seconds, worker, step)
        if outcome.measurement is None:
            return outcome
        last = outcome.measurement
        starts.append(last.start_seconds)
    median = statistics.median(starts)
    return Outcome("ok", dataclasses.replace(last, start_seconds=median))


def _run(
    job: MeasuringJob, timeout_seconds: float, worker: str, step: Callable[[str], None] | None
) -> Outcome:
    # -P: a module in the current folder must not replace one of the standard library.
    command = [sys.executable, "-P", "-m", worker]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of this package
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            encoding="ascii",
        )
        with _ended_on_exit(process), _time_limit(process, timeout_seconds) as is_over:
            last = _converse(process, job, step)
            process.wait()
        if is_over.is_set():
            return Outcome("failed", reason=f"it took longer than {timeout_seconds:g} seconds")
        return _outcome(last, process.returncode, complaints)


def _converse(
    process: subprocess.Popen[str], job: MeasuringJob, step: Callable[[str], None] | None
) -> dict[str, Any]:
    """Send the job and read the process's lines; return the last one, empty if there is none."""
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it ended at once; its standard error says why
        process.stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
        process.stdin.flush()
    for text in process.stdout:
        line: dict[str, Any] = json.loads(text)
        if "status" in line:
            return line
        if step is not None:
            step(line["step"])
    return {}


def _outcome(line: dict[str, Any], code: int, complaints: IO[str]) -> Outcome:
    if not line:
        return Outcome("failed", reason=f"its process {_exit_text(code)}{_last_words(complaints)}")
    if line["status"] == "ok":
        return Outcome("ok", Measurement.from_dict(line["measurement"]))
    return Outcome(line["status"], reason=line["reason"])


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _last_words(complaints: IO[str]) -> str:
    complaints.seek(0)
    lines = [line.strip() for line in complaints if line.strip()]
    return f": {lines[-1]}" if lines else ""


@contextlib.contextmanager
def _ended_on_exit(process: subprocess.Popen[str]) -> Iterator[None]:
    """End the process on exit, whatever happens."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@contextlib.contextmanager
def _time_limit(process: subprocess.Popen[str], seconds: float) -> Iterator[threading.Event]:
    """Kill the process after a timeout; the event is set if that happened."""
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        process.kill()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()
