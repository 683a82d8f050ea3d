"""A process that trains in forked children and kills them; it reads one JSON command per line.

A command is ``{"path": ..., "seconds": ...}``: resume the run in that folder, and kill the child
with SIGKILL after that many seconds, or let it finish if ``seconds`` is null. The answer is
``{"killed": ...}``. The line ``ready`` comes first. Forked children need not import torch or load
kernels.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import pytest
import torch
from training_samples import TINY, add_network, digit_data, settings, trainer

CONFIG = {"steps": 60, "snapshot_steps": 2, "display_steps": 2, "keep_snapshots": 3}


def train(path: Path) -> None:
    """Start or resume the run of a folder and train to its end."""
    config = settings(**CONFIG)
    run = trainer(config, digit_data(config), path)
    run.resume()
    run.fit()


def fork_and_kill(path: Path, seconds: float | None) -> bool:
    """Train in a child; returns whether it was killed before it finished."""
    alive, childs = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(alive)
            train(path)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(childs)
    # The pipe closes when the child exits.
    finished, _, _ = select.select([alive], [], [], seconds)
    if not finished:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(alive)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"training ended with {code}")
    return code != 0


def main() -> None:
    """Process commands until the input ends."""
    torch.set_num_threads(1)
    add_network(pytest.MonkeyPatch(), "tiny", TINY)
    # Load all modules and compiled kernels once, before the children are forked.
    with tempfile.TemporaryDirectory() as folder:
        trainer(settings(), digit_data(settings()), Path(folder) / "run").score_held_out()
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        killed = fork_and_kill(Path(command["path"]), command["seconds"])
        print(json.dumps({"killed": killed}), flush=True)


if __name__ == "__main__":
    main()
