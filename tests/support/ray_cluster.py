"""A Ray cluster on this machine: a head and nodes on loopback addresses, each its own processes.

Ray replaces 127.0.0.1 by the machine's own address, so the nodes are at 127.0.0.2 and above. They
are started one after another, because starting several at once often fails.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["Cluster", "Node", "cluster", "cpu_seconds_of", "descendants"]

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_QUIET = ("--disable-usage-stats", "--include-log-monitor=false")
"""As in docs/cluster.md; the log monitor is off because no test reads the logs that it sends."""

_START_SECONDS = 120
_FIRST = 2
"""Last number of the head's address."""


class Node:
    """One node: ``ray start --block`` and the processes that it started, which end with it."""

    def __init__(self, ip: str, arguments: list[str], environment: dict[str, str], log: Path):
        self.ip = ip
        self.log = log
        self._file: IO[bytes] = log.open("wb")
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        self.process = subprocess.Popen(
            [*command, f"--node-ip-address={ip}", *_QUIET, *arguments],
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while b"Ray runtime started" not in (text := self.log.read_bytes()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the node {self.ip} did not start: {text.decode()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill all processes, as if the machine lost its power."""
        numbers = [self.process.pid, *descendants(self.process.pid)]
        _signal(numbers, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop all processes, as if the machine hung: connections stay, and nothing answers."""
        _signal([self.process.pid, *descendants(self.process.pid)], signal.SIGSTOP)

    def go_on(self) -> None:
        _signal([self.process.pid, *descendants(self.process.pid)], signal.SIGCONT)

    def workers(self, word: str) -> list[int]:
        """PIDs of this node's workers whose title contains a word, such as an actor's class."""
        return [number for number in descendants(self.process.pid) if word in _command_line(number)]

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._file.close()


class Cluster:
    """A head without CPUs for tasks, and nodes.

    Attributes
    ----------
    address
        Address of the head.
    environment
        Environment variables for processes that use the cluster; they include its token.
    """

    def __init__(self, folder: Path, n_nodes: int, cpus: int = 2):
        self.folder = folder
        self.cpus = cpus
        self.environment = {
            # Ray's processes start twice as fast from compiled files.
            **{name: text for name, text in os.environ.items() if name != _NO_BYTECODE},
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_DISABLE_IMPORT_WARNING": "1",
        }
        port = 20000 + os.getpid() % 20000
        self.address = f"127.0.0.{_FIRST}:{port}"
        self._next = _FIRST
        self.nodes: list[Node] = []
        self._started: list[Node] = []
        # Paths of Unix sockets must be short, so the tests' own folder cannot be used.
        self._ray_folder = Path(tempfile.mkdtemp(prefix="hkray"))
        head = ("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")
        try:
            self.head = self._start(*head, f"--temp-dir={self._ray_folder}")
            for _ in range(n_nodes):
                self.add_node()
        except BaseException:
            self.close()
            raise

    def add_node(self) -> Node:
        node = self._start(f"--address={self.address}", f"--num-cpus={self.cpus}")
        self.nodes.append(node)
        return node

    def restore(self, n_nodes: int) -> None:
        """Wake nodes that were stopped, and replace those that were killed."""
        for node in self.nodes:
            node.go_on()
        self.nodes = [node for node in self.nodes if node.process.poll() is None]
        while len(self.nodes) < n_nodes:
            self.add_node()

    def _start(self, *arguments: str) -> Node:
        ip = f"127.0.0.{self._next}"
        self._next += 1
        sizes = ["--object-store-memory=80000000"]
        node = Node(ip, [*arguments, *sizes], self.environment, self.folder / f"{ip}.log")
        self._started.append(node)
        node.wait_until_started()
        return node

    def processes(self) -> list[int]:
        """PIDs of all processes of the cluster."""
        first = [node.process.pid for node in self._started if node.process.poll() is None]
        return [*first, *(other for number in first for other in descendants(number))]

    def close(self) -> None:
        for node in reversed(self._started):
            node.close()
        shutil.rmtree(self._ray_folder, ignore_errors=True)


@contextlib.contextmanager
def cluster(folder: Path, n_nodes: int = 2, cpus: int = 2) -> Iterator[Cluster]:
    """A running cluster; all its processes are ended afterwards."""
    one = Cluster(folder, n_nodes, cpus)
    try:
        yield one
    finally:
        one.close()


def descendants(number: int) -> list[int]:
    """PIDs of the children of a process, of their children, and so on."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            with contextlib.suppress(OSError, IndexError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.name))
    found: list[int] = []
    waiting = [number]
    while waiting:
        own = children.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def cpu_seconds_of(numbers: list[int]) -> float:
    """CPU time of processes and of the ended children that they waited for, seconds."""
    total = 0
    for number in numbers:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def _command_line(number: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_text()
    return ""


def _signal(numbers: list[int], which: signal.Signals) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, which)
