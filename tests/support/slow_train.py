"""A process that trains in children which it forks and kills: one order a line, in JSON.

An order is ``{"path": ..., "seconds": ...}``: go on with the run of that folder, and kill the
child with SIGKILL after so many seconds, or let it finish where that is null. The answer is
``{"killed": ...}``; before the first comes the line ``ready``. Forking spares each child the
import of torch, and the loading of kernels.
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
    """Start the run of a folder, or go on with it, to its end."""
    config = settings(**CONFIG)
    run = trainer(config, digit_data(config), path)
    run.resume()
    run.fit()


def fork_and_kill(path: Path, seconds: float | None) -> bool:
    """Whether the child was killed before it had finished."""
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
    # The pipe ends with the child.
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
    """Answer orders until there are no more."""
    torch.set_num_threads(1)
    add_network(pytest.MonkeyPatch(), "tiny", TINY)
    # What training and validating load is then there in every child: compiled kernels, too.
    with tempfile.TemporaryDirectory() as folder:
        trainer(settings(), digit_data(settings()), Path(folder) / "run").score_held_out()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        killed = fork_and_kill(Path(order["path"]), order["seconds"])
        print(json.dumps({"killed": killed}), flush=True)


if __name__ == "__main__":
    main()
