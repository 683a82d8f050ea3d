"""The process that measures one model in one runtime and reports to its parent in JSON lines.

It reads a `MeasuringJob` from the first line of standard input. It ends when the parent closes that
pipe, so a parent that ends leaves no orphan. It writes ``{"step": ...}`` to standard output after
each step, and finally one line with ``status``:

- ``ok``, with ``measurement``;
- ``absent``, with ``reason``: the runtime or its device is not available;
- ``failed``, with ``reason``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from hashkit.errors import HashkitError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.measuring.measuring import MeasuringJob, OpenEncoder, measure
from hashkit.runtimes.protocol import RUNTIMES
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["main", "serve", "why_absent"]


def serve(
    why_absent: Callable[[MeasuringJob], str | None],
    opener: Callable[[MeasuringJob], OpenEncoder],
) -> None:
    """Read a job from standard input and do it.

    Parameters
    ----------
    why_absent
        Returns why the job's runtime or device is not available, with the command that installs
        it; None if it is available.
    opener
        Returns the function that opens the job's model.
    """
    said = _claim_output()
    job = MeasuringJob.from_dict(json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def say(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=said, flush=True)

    try:
        reason = why_absent(job)
        if reason is not None:
            say({"status": "absent", "reason": reason})
            return
        found = measure(opener(job), job, lambda step: say({"step": step}))
    except HashkitError as error:
        say({"status": "failed", "reason": str(error)})
    except Exception as error:  # a damaged package may raise any exception on import
        reason = f"{type(error).__name__}: {foreign_message(error)}"
        say({"status": "failed", "reason": reason})
    else:
        say({"status": "ok", "measurement": dataclasses.asdict(found)})


def why_absent(runtime: str, device: str) -> str | None:
    """Why a runtime is not available on a device here; None if it is available."""
    reason = RUNTIMES[runtime].why_absent()
    if reason is None and device == "cuda":
        from hashkit.runtimes import cuda

        reason = cuda.why_no_cuda()
    return reason


def main() -> None:
    """Measure a model file in one of `hashkit.runtimes.protocol.RUNTIMES`."""
    serve(lambda job: why_absent(job.runtime, job.device), _opener)


def _opener(job: MeasuringJob) -> OpenEncoder:
    from hashkit.runtimes.encoder import Encoder

    def open_encoder(batch_size: int | None) -> Encoder:
        settings = RuntimeSettings(
            job.runtime, job.device, profile=job.profile, batch_size=batch_size
        )
        return Encoder.open(Path(job.model), settings)

    return open_encoder


def _claim_output() -> IO[str]:
    """Take standard output for this module; what libraries print goes to standard error."""
    said = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return said


def _end_with_parent() -> None:
    # Not sys.stdin, whose lock this thread would hold when the interpreter shuts down.
    os.read(0, 1)  # returns when the parent's end of the pipe is closed
    os._exit(1)


if __name__ == "__main__":
    main()
