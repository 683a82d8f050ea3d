"""A process that runs jobs in children, and kills them: with SIGKILL, and on request.

It reads one JSON object a line, ``{"path": ..., "step": n}`` (the child dies at its n-th step
that touches the file system) or ``{"path": ..., "seconds": s}`` (it is killed after that time),
and answers with ``{"killed": bool, "error": bool}``. The job is `run_job`, or with ``"job":
"deletions"`` it is `run_deletions`. Forking from one warm process makes a kill
cost milliseconds instead of a start of Python.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from bank_samples import run_deletions, run_job

from hashkit.bank import files


class Fuse:
    """Kills this process at the n-th step: a write stops half way, the others before."""

    def __init__(self, step: int) -> None:
        self.left = step

    def burn(self) -> bool:
        self.left -= 1
        return self.left == 0

    def install(self) -> None:
        write_at, create, replace = files._write_at, files.create_file, Path.replace

        def dying_write(file, offset, data):
            if self.burn():
                # The commit record lies within one page: the kernel never leaves half of it.
                if len(data) not in (40, 56):
                    write_at(file, offset, data[: len(data) // 2])
                die()
            write_at(file, offset, data)

        def dying_create(path, *arguments):
            if self.burn():
                path.write_bytes(b"\x89HDF half a file")
                die()
            create(path, *arguments)

        def dying_fsync(handle):
            if self.burn():
                die()

        def dying_replace(path, target):
            if self.burn():
                die()
            return replace(path, target)

        files._write_at = dying_write
        files.create_file = dying_create
        os.fsync = dying_fsync
        Path.replace = dying_replace


JOBS = {"rows": run_job, "deletions": run_deletions}


def do_nothing(handle: int) -> None:
    pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(order: dict) -> None:
    try:
        # A kill does not lose what the kernel has; only a power cut would.
        os.fsync = do_nothing
        if "step" in order:
            Fuse(order["step"]).install()
        JOBS[order.get("job", "rows")](Path(order["path"]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            child(order)
        if "seconds" in order:
            time.sleep(order["seconds"])
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        answer = {"killed": os.WIFSIGNALED(status), "error": status != 0}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
