"""Starts a worker, gives it cases, and finds out what happened if it does not answer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

from fuzzing.worker import CASE

__all__ = ["HANG_SECONDS", "Batch", "Worker"]

HANG_SECONDS: Final = 20.0
"""Seconds of CPU time that one case may take."""

_WAITS: Final = 3.0
"""Multiple of these seconds that may pass by the clock, as the disk takes time too; the
seconds that a process waits for a core do not count."""

_START_SECONDS: Final = 120.0
"""Seconds that a worker may take to import what it needs and to make the first files."""

_POLL_SECONDS: Final = 0.25
_SCRIPT: Final = Path(__file__).parents[1] / "fuzz.py"


@dataclasses.dataclass
class Batch:
    """What came of some cases: how many were read and refused, and what was found."""

    read: int = 0
    refused: int = 0
    findings: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    ticks: float = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_clock(pid: int) -> float:
    """Seconds by the clock, without those that the process waited for a core."""
    waited = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has ended
            waited = max(waited, int(path.read_text().split()[1]))
    return time.monotonic() - waited / 1e9


class Worker:
    """A worker process, started again whenever a case ends it."""

    def __init__(self, hang_seconds: float = HANG_SECONDS) -> None:
        self._hang_seconds = hang_seconds
        self._folder = Path(tempfile.mkdtemp(prefix="hashkit-fuzz-"))
        self._numbers, self._printed = self._folder / "case", self._folder / "printed"
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, name: str, first: int, stop: int) -> Batch:
        """Run the cases ``first`` to ``stop``, without the last, of a format."""
        batch = Batch()
        while first < stop:
            process = self._started()
            request = {"format": name, "first": first, "stop": stop}
            assert process.stdin is not None
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            failed = self._answers(process, batch)
            _, n_read, n_refused = self._shared()
            batch.read += n_read
            batch.refused += n_refused
            if failed is None:
                return batch
            kind, case = failed
            if case < 0:
                raise RuntimeError(f"{name}: {kind} before a case began: {self._text()}")
            batch.findings.append(self._finding(name, case, kind))
            self._stop()
            first = case + 1
        return batch

    def _answers(self, process: subprocess.Popen[bytes], batch: Batch) -> tuple[str, int] | None:
        """Take answers until the batch is done; otherwise what ended it, and in which case."""
        assert process.stdout is not None
        case, since, cpu = -2, 0.0, 0.0
        while True:
            ready, _, _ = select.select([process.stdout], [], [], _POLL_SECONDS)
            if ready:
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    code = process.wait()
                    return f"crash with exit code {code}", self._case()
                if self._take(data, batch):
                    return None
            now = self._case()
            if now != case:
                case, since, cpu = now, _own_clock(process.pid), _cpu_seconds(process.pid)
            limit = self._hang_seconds if case >= 0 else _START_SECONDS
            is_over = (
                _cpu_seconds(process.pid) - cpu > limit
                or _own_clock(process.pid) - since > _WAITS * limit
            )
            if is_over:
                process.kill()
                process.wait()
                return f"hang of more than {limit:.0f} s", case

    def _take(self, data: bytes, batch: Batch) -> bool:
        *lines, self._pending = (self._pending + data).split(b"\n")
        is_done = False
        for line in lines:
            answer = json.loads(line)
            if "done" in answer:
                is_done = True
            else:
                batch.findings.append(answer)
        return is_done

    def _finding(self, name: str, case: int, kind: str) -> dict[str, Any]:
        text = self._text()
        frames = [line.strip() for line in text.splitlines() if "File" in line][:3]
        key = "\n".join([kind, *frames]) if frames else f"{kind} {name}"
        return {"format": name, "case": case, "kind": kind, "key": key, "text": text}

    def _case(self) -> int:
        return self._shared()[0]

    def _shared(self) -> tuple[int, int, int]:
        case, n_read, n_refused = CASE.unpack(self._numbers.read_bytes())
        return case, n_read, n_refused

    def _text(self) -> str:
        return self._printed.read_bytes()[-3000:].decode("utf-8", "replace")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._numbers.write_bytes(CASE.pack(-1, 0, 0))
            self._pending = b""
            threads = dict.fromkeys(
                ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
            )
            self._process = subprocess.Popen(
                [sys.executable, str(_SCRIPT), "--worker", str(self._numbers), str(self._printed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | threads | {"TMPDIR": str(self._folder)},
            )
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
        for folder in Path("/dev/shm").glob(f"hashkit-fuzz-{process.pid}-*") if process else ():
            shutil.rmtree(folder, ignore_errors=True)
