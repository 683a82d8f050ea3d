"""A server that a supervisor restarts, and a load of which every answer is checked."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from load_client import Client, request_of
from PIL import Image

from hashkit.bank.reader import Bank
from hashkit.runtimes.encoder import Encoder

__all__ = ["Supervisor", "picture", "soak"]

TOKEN = "-".join(["only", "for", "this", "measurement"])
_PAUSE_SECONDS = 0.4
_COMPARED = 100
"""Newest added images that are looked for in each answer; all would take longer than the server."""

_START = "from hashkit.cli import main; main()"


class Supervisor:
    """Opens a port, and restarts the server on it whenever it ends, as systemd does.

    Parameters
    ----------
    options
        Options of `hashkit serve`.
    """

    def __init__(self, options: list[str]) -> None:
        command = shlex.join([sys.executable, "-c", _START, "serve", *options])
        self._command = f"LISTEN_FDS=1 LISTEN_PID=$$ exec {command}"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._keep)
        self.n_starts = 0

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._listener.getsockname()
        return host, port

    @property
    def pid(self) -> int:
        """Process ID of the server."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        assert self._process is not None
        self._process.terminate()
        self._thread.join()
        self._listener.close()

    def cpu_seconds(self) -> float:
        """CPU time of the server."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Wait for `/readyz`."""
        host, port = self.address
        for _ in range(600):
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=2) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError("the server does not become ready")

    def _start(self) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", self._command],
            env=os.environ | {"HASHKIT_TOKEN": TOKEN},
            preexec_fn=self._pass_on,
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        self.n_starts += 1

    def _pass_on(self) -> None:
        os.dup2(self._listener.fileno(), 3)
        os.set_inheritable(3, True)  # dup2 does nothing if it was 3 already

    def _keep(self) -> None:
        while True:
            assert self._process is not None
            self._process.wait()
            if self._is_over:
                return
            self._start()


@dataclasses.dataclass
class _Counts:
    searches: int = 0
    uploads: int = 0
    removals: int = 0
    broken: int = 0
    closed: int = 0
    later: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    kills: int = 0
    anonymous_mb: list[tuple[int, float]] = dataclasses.field(default_factory=list)


class _Truth:
    """What the server must answer: the code of every name, and which names are there."""

    def __init__(self, bank: Path, encoder: Encoder, images: list[bytes]) -> None:
        with Bank.open(bank) as opened:
            self.codes = {
                name: code.tobytes() for name, code in zip(opened.names, opened.codes, strict=True)
            }
        self.gone: set[str] = set()
        self.queries = [encoder.encode([image])[0].tobytes() for image in images]

    def fault(
        self, answer: dict[str, Any], query: int, there: set[str], gone: set[str]
    ) -> str | None:
        """The fault of an answer, given the images that were present and removed at its request."""
        code = bytes.fromhex(answer["code"])
        if _distance(code, self.queries[query]) > 1:  # a logit near 0 may flip in another batch
            return f"another code: {answer['code']}"
        hits = answer["hits"]
        order = [(hit["distance"], hit["row"]) for hit in hits]
        if order != sorted(order) or len(hits) != 10:
            return f"in another order: {order}"
        for hit in hits:
            known = self.codes.get(hit["name"])
            if known is None or _distance(known, code) != hit["distance"]:
                return f"a wrong distance: {hit}"
            if hit["name"] in gone:
                return f"removed, and found: {hit}"
        last, found = hits[-1]["distance"], {hit["name"] for hit in hits}
        for name in sorted(there)[-_COMPARED:]:
            if name not in found and _distance(self.codes[name], code) < last:
                return f"not found: {name}"
        return None


def _distance(left: bytes, right: bytes) -> int:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_count()


def soak(
    server: Supervisor, encoder: Encoder, bank: Path, album: Path, rate: float, seconds: float
) -> str:
    """Run a load with additions, removals and kills; returns the results as text."""
    images = [path.read_bytes() for path in sorted(album.iterdir()) if path.is_file()]
    return _Soak(server, encoder, bank, images, rate, seconds).run()


class _Soak:
    def __init__(
        self,
        server: Supervisor,
        encoder: Encoder,
        bank: Path,
        images: list[bytes],
        rate: float,
        seconds: float,
    ) -> None:
        self._server, self._encoder, self._images = server, encoder, images
        self._rate, self._seconds = rate, seconds
        self._bank = bank
        self._truth = _Truth(bank, encoder, images)
        self._uploaded: list[str] = []
        self._counts = _Counts()
        self._killed_at = -1e9
        self._client = Client(server.address)
        self._rng = np.random.default_rng(0)
        self._start = time.perf_counter()

    def run(self) -> str:
        for begin in (self._search, self._change):
            self._client.at(self._start, functools.partial(begin, 0))
        self._client.at(self._start + self._kill_pause, self._kill)
        self._client.at(self._start, self._measure)
        self._client.run()
        self._client.close()
        return self._report()

    @property
    def _kill_pause(self) -> float:
        return min(60.0, self._seconds / 4)

    def _left(self) -> float:
        return self._start + self._seconds - time.perf_counter()

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._client.at(time.perf_counter() + seconds, call)

    def _search(self, number: int) -> None:
        if self._left() <= 0:
            return
        following = functools.partial(self._search, number + 1)
        self._client.at(self._start + (number + 1) / self._rate, following)
        query = number % len(self._images)
        there, gone = set(self._uploaded), set(self._truth.gone)
        request = request_of("POST", "/search?k=10", self._images[query])

        def ask(*, is_safe: bool = False) -> None:
            answered = functools.partial(take, time.perf_counter())
            self._client.ask(request, answered, is_safe=is_safe)

        def take(began: float, status: int, body: bytes) -> None:
            if self._left() > -30 and status == 503:  # as the answer asks for
                self._counts.later += 1
                self._later(1, ask)
            elif self._left() > -30 and status == 0 and began > self._killed_at:
                self._counts.closed += 1  # the kill had closed the connection
                ask()
            else:
                self._counts.searches += 1
                if not self._is_broken(status, began):
                    still = there & set(self._uploaded)
                    fault = self._truth.fault(json.loads(body), query, still, gone)
                    self._counts.wrong += [] if fault is None else [fault]

        ask(is_safe=True)

    def _is_broken(self, status: int, began: float) -> bool:
        """Count an answer that is none: of a request in flight at a kill, or another one."""
        if status == 0 and began <= self._killed_at:
            self._counts.broken += 1
        elif status == 0:
            self._counts.closed += 1
        elif status == 503:
            self._counts.later += 1
        elif status not in (200, 201, 204):
            self._counts.wrong.append(f"status {status}")
        return status not in (200, 201, 204)

    def _change(self, number: int) -> None:
        """Add two images for each that is removed."""
        if self._left() <= 0:
            return
        is_removal = number % 3 == 2 and bool(self._uploaded)
        if is_removal:
            name = self._uploaded.pop(int(self._rng.integers(len(self._uploaded))))
            request = request_of("DELETE", f"/images/{name}", authorization=f"Bearer {TOKEN}")
        else:
            name, data = f"new/{number}.jpg", picture(1000 + number)
            self._truth.codes[name] = self._encoder.encode([data])[0].tobytes()
            path = f"/images?name={name}"
            request = request_of("POST", path, data, authorization=f"Bearer {TOKEN}")

        def take(began: float, status: int, _body: bytes) -> None:
            self._later(_PAUSE_SECONDS, functools.partial(self._change, number + 1))
            if self._is_broken(status, began):
                return
            if is_removal:
                self._truth.gone.add(name)
                self._counts.removals += 1
            else:
                self._uploaded.append(name)
                self._counts.uploads += 1

        self._client.ask(request, functools.partial(take, time.perf_counter()))

    def _kill(self) -> None:
        if self._left() <= 5:
            return
        self._killed_at = time.perf_counter()
        self._server.kill()
        self._counts.kills += 1
        self._later(self._kill_pause, self._kill)

    def _measure(self) -> None:
        if self._left() <= 0:
            return
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self._server.pid}/status").read_text()
            kilobytes = int(status.partition("RssAnon:")[2].split()[0])
            self._counts.anonymous_mb.append((self._server.n_starts, kilobytes / 1000))
        self._later(1, self._measure)

    def _report(self) -> str:
        counts = self._counts
        lives: dict[int, list[float]] = {}
        for life, megabytes in counts.anonymous_mb:
            lives.setdefault(life, []).append(megabytes)
        memory = ", ".join(
            f"{np.median(one[len(one) // 3 : len(one) // 2]):.0f} to {np.median(one[-5:]):.0f}"
            for one in lives.values()
            if len(one) > 20
        )
        with Bank.open(self._bank) as bank:
            bank.verify()
            deleted = bank.deleted
            live = {
                name for row, name in enumerate(bank.names) if deleted is None or not deleted[row]
            }
        lost = set(self._uploaded) - live
        undone = len(live & self._truth.gone)
        return f"""\
soak         {self._seconds / 60:.1f} minutes at {self._rate:.1f}/s, {counts.kills} kills: \
{counts.searches:,} searches, {counts.uploads:,} images added, {counts.removals:,} removed
wrong        {len(counts.wrong)} answers {counts.wrong[:3]}, {len(lost)} uploads lost, \
{undone} removals undone
failed       {counts.broken} in flight at a kill; sent again: {counts.closed} on a connection \
that a kill had closed, {counts.later} told to come a second later
memory       {memory} MB from a third to the end of each life"""


def picture(seed: int) -> bytes:
    """A JPEG file of 480 x 360 pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC)
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=90)
        return file.getvalue()
