"""A campaign: which cases were run, what they found, and how far it has come."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fuzzing.catalogue import share
from fuzzing.supervisor import Batch, Worker

__all__ = ["Campaign", "installed"]

BATCH_CASES: Final = 400
"""Cases of a usual format between two notes of the state."""

_NOTE_SECONDS: Final = 30.0
_NEEDS: Final = {
    "parquet": "pyarrow", "image-parquet": "pyarrow", "faiss": "faiss", "heif": "pillow_heif",
    "labels-mat": "scipy",
    "checkpoint": "torch", "onnx-description": "onnx", "onnx-model": "onnx",
}  # fmt: skip


def installed(formats: Sequence[str]) -> list[str]:
    """The formats whose packages are installed; the others are named on standard error."""
    kept = []
    for name in formats:
        package = _NEEDS.get(name)
        if package is None or importlib.util.find_spec(package) is not None:
            kept.append(name)
        else:
            print(f"{name}: left out, as {package} is not installed", file=sys.stderr)
    return kept


class Campaign:
    """Cases of several formats, in an order that does not depend on time or speed.

    Parameters
    ----------
    folder
        Where findings and the state are kept; None to keep no state and start with case 0.
    """

    def __init__(self, folder: Path, formats: Sequence[str], *, continues: bool) -> None:
        self._folder, self._formats = folder, formats
        self._state_path = folder / "state.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.counts: dict[str, dict[str, int]] = {
            name: {"next": 0, "read": 0, "refused": 0, "found": 0} for name in formats
        }
        self.keys: set[str] = set()
        self._lock = threading.Lock()
        if continues and self._state_path.is_file():
            state = json.loads(self._state_path.read_text())
            self.counts |= {name: one for name, one in state["counts"].items() if name in formats}
            self.keys = set(state["keys"])

    @property
    def n_cases(self) -> int:
        """Cases that were run, in all."""
        return sum(one["next"] for one in self.counts.values())

    def run(self, *, seconds: float | None, n_cases: int | None, n_workers: int) -> int:
        """Run cases until the time is over or each format has its number; returns new findings.

        Parameters
        ----------
        seconds
            Seconds at most; None for no limit.
        n_cases
            Cases of a usual format; None for no limit.
        """
        n_before = len(self.keys)
        began = time.monotonic()
        until = None if seconds is None else began + seconds
        jobs: queue.Queue[tuple[str, int, int]] = queue.Queue(n_workers)
        stop = threading.Event()
        faults: list[BaseException] = []

        def work() -> None:
            try:
                with Worker() as worker:
                    while not stop.is_set():
                        try:
                            name, first, last = jobs.get(timeout=0.2)
                        except queue.Empty:
                            continue
                        self._add(name, last, worker.run(name, first, last))
                        jobs.task_done()
            except BaseException as error:
                faults.append(error)
                stop.set()

        threads = [threading.Thread(target=work, daemon=True) for _ in range(n_workers)]
        for thread in threads:
            thread.start()
        try:
            self._hand_out(jobs, n_cases, until, began, stop)
            while jobs.unfinished_tasks and not faults:
                time.sleep(0.1)
        finally:
            stop.set()
            for thread in threads:
                thread.join(timeout=60)
            self._save()
        if faults:
            raise faults[0]
        return len(self.keys) - n_before

    def _hand_out(
        self,
        jobs: queue.Queue[tuple[str, int, int]],
        n_cases: int | None,
        until: float | None,
        began: float,
        stop: threading.Event,
    ) -> None:
        noted, start = began, self.n_cases
        for name, first, last in self._batches(n_cases):
            while not stop.is_set():
                now = time.monotonic()
                if until is not None and now > until:
                    print("the time is over", file=sys.stderr)
                    return
                if now - noted > _NOTE_SECONDS:
                    noted = now
                    self._note(now - began, start, until)
                    self._save()
                try:
                    jobs.put((name, first, last), timeout=0.5)
                    break
                except queue.Full:
                    continue
            if stop.is_set():
                return

    def _batches(self, n_cases: int | None) -> Iterator[tuple[str, int, int]]:
        """Batches of the formats in turn, each from where it stopped."""
        following = {name: self.counts[name]["next"] for name in self._formats}
        while True:
            n_left = 0
            for name in self._formats:
                size = max(1, round(BATCH_CASES * share(name)))
                last = following[name] + size
                if n_cases is not None:
                    last = min(last, round(n_cases * share(name)))
                if last > following[name]:
                    n_left += 1
                    yield name, following[name], last
                    following[name] = last
            if not n_left:
                return

    def _add(self, name: str, last: int, batch: Batch) -> None:
        with self._lock:
            count = self.counts[name]
            count["next"] = max(count["next"], last)
            count["read"] += batch.read
            count["refused"] += batch.refused
            count["found"] += len(batch.findings)
            for finding in batch.findings:
                self._keep(finding)

    def _keep(self, finding: dict[str, Any]) -> None:
        digest = hashlib.sha256(finding["key"].encode("utf-8", "replace")).hexdigest()[:12]
        if digest in self.keys:
            return
        self.keys.add(digest)
        command = f"python tests/fuzz/fuzz.py --format {finding['format']} --case {finding['case']}"
        line = {"digest": digest, "command": command, **finding}
        with (self._folder / "findings.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"finding {digest}: {finding['kind']}: {command}", file=sys.stderr)
        print(f"  {finding['text'].strip().splitlines()[-1:]}", file=sys.stderr, flush=True)

    def _note(self, seconds: float, start: int, until: float | None) -> None:
        rate = (self.n_cases - start) / seconds
        left = "" if until is None else f", {max(0.0, until - time.monotonic()):.0f} s left"
        print(
            f"{self.n_cases:,} cases, {rate:,.0f} cases/s{left}, {len(self.keys)} findings",
            file=sys.stderr,
            flush=True,
        )

    def _save(self) -> None:
        with self._lock:
            text = json.dumps({"counts": self.counts, "keys": sorted(self.keys)}, indent=1)
        part = self._state_path.with_suffix(".new")
        part.write_text(text)
        part.replace(self._state_path)

    def table(self) -> str:
        """Counts by format."""
        lines = [f"{'format':<18}{'cases':>10}{'read':>10}{'refused':>10}{'found':>8}"]
        rows = {**self.counts, "all": {}}
        for field in ("next", "read", "refused", "found"):
            rows["all"][field] = sum(one[field] for one in self.counts.values())
        for name, one in rows.items():
            lines.append(
                f"{name:<18}{one['next']:>10,}{one['read']:>10,}{one['refused']:>10,}{one['found']:>8,}"
            )
        return "\n".join(lines)
