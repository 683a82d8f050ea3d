"""A process that runs jobs in child processes and kills them with SIGKILL on request.

It reads one JSON object per line: ``{"path": ..., "step": n}`` (the child dies at its n-th step
that touches the file system) or ``{"path": ..., "seconds": s}`` (it is killed after that time).
It answers with ``{"killed": bool, "error": bool}``. The job is `run_job`; with ``"job":
"deletions"`` or ``"edits"`` it is `run_deletions` or `run_edits`. Forking from one warm process
takes milliseconds, while starting Python for each kill would take much longer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from bank_edits import run_edits
from bank_samples import run_deletions, run_job

from hashkit.bank import bankfile
from hashkit.bank import editor as bank_editor


class Fuse:
    """Kills this process at the n-th step: halfway through a write, or before any other step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def burn(self) -> bool:
        self.left -= 1
        return self.left == 0

    def install(self) -> None:
        write_at, create, replace = bankfile._write_at, bankfile.create_file, Path.replace

        def dying_write(file, offset, data):
            if self.burn():
                # The commit record lies within one page, so the kernel never writes half of it.
                if len(data) not in (40, 56, 64):
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

        bankfile._write_at = dying_write
        bankfile.create_file = dying_create
        os.fsync = dying_fsync
        Path.replace = dying_replace


JOBS = {"rows": run_job, "deletions": run_deletions, "edits": run_edits}


def do_nothing(handle: int) -> None:
    pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(request: dict) -> None:
    try:
        # A kill does not lose what was handed to the kernel; only a power cut would.
        os.fsync = do_nothing
        bank_editor._LEAST_ROWS = bank_editor._LEAST_NAME_BYTES = 1
        if "step" in request:
            Fuse(request["step"]).install()
        JOBS[request.get("job", "rows")](Path(request["path"]))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            child(request)
        if "seconds" in request:
            time.sleep(request["seconds"])
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        answer = {"killed": os.WIFSIGNALED(status), "error": status != 0}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
