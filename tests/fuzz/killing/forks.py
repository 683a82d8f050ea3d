"""Processes that are forked from one that has imported everything, and killed on time."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["OverTimeError", "answered", "command_in_fork", "command_in_process", "preload"]

_TIMEOUT_SECONDS: Final = 240.0
"""Seconds that a command may take which is not to be killed."""


class OverTimeError(RuntimeError):
    """A command that was not to be killed took longer than this script allows, and was stopped."""


def preload(command: Callable[[], int], folder: Path) -> None:
    """Import what a command imports: it is run in a fork, which lists its modules.

    A fork has none of the threads that imports start; the undisturbed run shows that a command does
    not need them.
    """
    listed = folder.with_name(f"{folder.name}.modules")

    def listing() -> int:
        code = command()
        listed.write_text("\n".join(sys.modules))
        return code

    command_in_fork(listing, folder)
    # In their order: asyncio differs if its C module is imported first.
    for name in listed.read_text().split():
        with contextlib.suppress(Exception):  # a module that another one created
            importlib.import_module(name)
    if "torch.onnx._internal.exporter._registration" in sys.modules:
        _list_operators()
    # Garbage collection leaves these objects alone: it would touch, and so copy, a fork's pages.
    gc.collect()
    gc.freeze()


@functools.cache
def _list_operators() -> None:
    """List the operators of torch's exporter once, which is half of the time of an export."""
    from torch.onnx._internal.exporter._registration import onnxscript_apis

    operators = onnxscript_apis.get_torchlib_ops()
    onnxscript_apis.get_torchlib_ops = lambda: operators


def command_in_fork(
    command: Callable[[], int], folder: Path, kill_after: float | None = None
) -> tuple[int | None, float, str]:
    """Run a command in a forked process.

    Returns
    -------
    tuple
        Its exit code, None if it was killed; the seconds it took; and what it printed.

    Raises
    ------
    OverTimeError
        If it was not to be killed, and did not end in time.
    """
    printed = folder.with_name(f"{folder.name}.printed")
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        _child(command, folder, printed)
    code = _wait(pid, began, kill_after)
    seconds = time.perf_counter() - began
    text = printed.read_text(errors="replace")
    _check_time(code, kill_after, text)
    return code, seconds, text


def _child(command: Callable[[], int], folder: Path, printed: Path) -> None:
    code = 99
    try:
        os.chdir(folder)
        handle = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        # As the last process to write is killed, only a power cut could lose what is not synced.
        os.fsync = lambda _: None
        _commit_each_batch()
        code = command()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                code = code or 98
        os._exit(code)


def _commit_each_batch() -> None:
    from hashkit.bank.writer import BankWriter

    original = BankWriter.__init__

    def without_waiting(self: BankWriter, path: Path, lock: Any, _: float) -> None:
        original(self, path, lock, 0.0)

    BankWriter.__init__ = without_waiting  # type: ignore[method-assign]

    from hashkit.collection import sync

    sync._COMMIT_SECONDS = 0.0  # type: ignore[misc]


def command_in_process(
    line: list[str], folder: Path, kill_after: float | None = None, before: str = ""
) -> tuple[int | None, float, str]:
    """Run ``hashkit LINE`` as a process of its own, so that imports are killed too."""
    began = time.perf_counter()
    with (folder.with_name(f"{folder.name}.printed")).open("w+") as printed:
        code = f"{before}\nfrom hashkit.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *line], cwd=folder, stdout=printed, stderr=printed
        )
        try:
            ended: int | None = process.wait(_TIMEOUT_SECONDS if kill_after is None else kill_after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            ended = None
        seconds = time.perf_counter() - began
        printed.seek(0)
        text = printed.read()
    _check_time(ended, kill_after, text)
    return ended, seconds, text


def _check_time(code: int | None, kill_after: float | None, printed: str) -> None:
    """Raise `OverTimeError` if this script's limit stopped a command that it was not to kill."""
    if code is None and kill_after is None:
        raise OverTimeError(
            f"stopped after the {_TIMEOUT_SECONDS:.0f} s that this script allows: {printed[-600:]}"
        )


def answered(question: Callable[[], Any]) -> Any:
    """The JSON-ready answer of a function that runs in a forked process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        code = 0
        try:
            answer: Any = question()
        except BaseException:
            answer, code = traceback.format_exc(), 1
        with os.fdopen(writing, "w") as file:
            json.dump(answer, file)
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = json.loads(file.read() or "null")
    status = os.waitpid(pid, 0)[1]
    if status:
        raise RuntimeError(f"a check failed: {answer}")
    return answer


def _wait(pid: int, began: float, kill_after: float | None) -> int | None:
    limit = _TIMEOUT_SECONDS if kill_after is None else kill_after
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        left = limit - (time.perf_counter() - began)
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(min(0.002, left))
