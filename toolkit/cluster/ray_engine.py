"""The engine on Ray Core: one task per job, and actors that Ray starts again.

Nothing is scheduled here, and no code is copied: every node has hashkit installed. The driver runs
on a node of the cluster.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    RayActorError,
    RayError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from hashkit.cluster.engine import PING, Actor, Call, LostError, Resources
from hashkit.cluster.failures import guarded, opened
from hashkit.errors import ClusterError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.workflow.reporter import SILENT, Reporter

__all__ = ["RayEngine"]

_PORT: Final = 6379
"""Port of a head if an address has none: Ray's own default."""

_CONNECT_SECONDS: Final = 5.0

_ACTOR_BYTES: Final = 2**20

_LOST_ERRORS: Final = (
    RayActorError,
    WorkerCrashedError,
    NodeDiedError,
    LocalRayletDiedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    TaskCancelledError,
)


_GUARDED_TASK: Final = ray.remote(guarded)
"""One for all tasks: Ray would send each new one to the nodes, and start a process for it."""


class _Host:
    """The process of an actor: makes the object, and answers pings in a separate thread."""

    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._object = guarded(make, *arguments)

    def run(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return guarded(self._run, method, arguments)

    @ray.method(concurrency_group="pings")
    def ping(self) -> None:
        pass

    def _run(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return getattr(opened(self._object), method)(*arguments)


class _RayActor:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def call(self, method: str, *arguments: Any) -> Call:
        if method == PING:
            return self._handle.ping.remote()
        return self._handle.run.remote(method, arguments)


class RayEngine:
    """A running Ray cluster.

    Parameters
    ----------
    address
        ``auto`` for the cluster that this machine is a node of, or its head as HOST or HOST:PORT.
    reporter
        Takes notes.

    Raises
    ------
    ClusterError
        If there is no such cluster, it does not let this process in, or no node runs tasks.
    """

    def __init__(self, address: str, reporter: Reporter = SILENT) -> None:
        self._is_own = not ray.is_initialized()
        self._actors: list[Any] = []
        self._tasks: set[Any] = set()
        if self._is_own:
            _connect(address)
        if os.environ.get("RAY_AUTH_MODE") != "token":
            reporter.note(
                "warning: this Ray cluster requires no token, so anyone who can reach it can run "
                "code on it: see SECURITY.md"
            )
        nodes = [
            node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0
        ]
        self._nodes = [node["NodeID"] for node in sorted(nodes, key=_node_order)]
        self._n_cpus = sum(node["Resources"]["CPU"] for node in nodes)
        self._n_gpus = sum(node["Resources"].get("GPU", 0) for node in nodes)
        if not nodes:
            self.close()
            raise ClusterError(
                "expected a Ray cluster with CPUs for tasks, found none: start a node with `ray "
                "start --address HOST:PORT`, or the head with `ray start --head` alone"
            )

    @property
    def n_nodes(self) -> int:
        """Nodes that run tasks."""
        return len(self._nodes)

    @property
    def n_cpus(self) -> float:
        """CPUs of all nodes."""
        return self._n_cpus

    @property
    def n_gpus(self) -> float:
        """GPUs of all nodes."""
        return self._n_gpus

    def task(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], resources: Resources
    ) -> Call:
        """Start a function; see `Engine`."""
        task = _GUARDED_TASK.options(
            name=function.__name__,  # in `ray list tasks`, and as the title of its process
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_retries=0,  # `results_of_tasks` starts tasks again, and tells the user
            scheduling_strategy="SPREAD",
        )
        call = task.remote(function, *arguments)
        self._tasks.add(call)
        return call

    def actor(
        self, make: Callable[..., Any], arguments: tuple[Any, ...], node: int, resources: Resources
    ) -> Actor:
        """Start an actor; see `Engine`."""
        place = NodeAffinitySchedulingStrategy(self._nodes[node % len(self._nodes)], soft=True)
        host = ray.remote(concurrency_groups={"pings": 1})(_Host).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            # If an actor takes nothing, Ray ignores where it should start.
            memory=_ACTOR_BYTES,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy=place,
        )
        handle = host.remote(make, arguments)
        self._actors.append(handle)
        return _RayActor(handle)

    def wait(self, calls: Sequence[Call], seconds: float | None) -> list[Call]:
        """Calls that have ended; see `Engine`."""
        if not calls:
            time.sleep(seconds or 0)
            return []
        with _ray_errors():
            ended, _ = ray.wait(list(calls), num_returns=1, timeout=seconds)
            if ended and len(calls) > 1:
                ended, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return list(ended)

    def result(self, call: Call) -> Any:
        """Result of a call that has ended; see `Engine`."""
        self._tasks.discard(call)
        try:
            with _ray_errors():
                return opened(ray.get(call))
        except _LOST_ERRORS as error:
            raise LostError(foreign_message(error)) from None

    def close(self) -> None:
        """End all tasks and actors."""
        if self._is_own:
            # This ends them too. If a task ends while it is cancelled, Ray aborts this process.
            ray.shutdown()
            return
        with contextlib.suppress(Exception):
            for task in self._tasks:
                ray.cancel(task, force=True)
            for actor in self._actors:
                ray.kill(actor)


def _connect(address: str) -> None:
    if address != "auto":
        address = _reachable(address)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(), _native_messages_dropped():
            warnings.simplefilter("ignore")
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        # Ray prints events of nodes on standard output, where results go; no setting prevents it.
        ray._private.worker._worker_logs_enabled = False
    except ConnectionError as error:
        if address == "auto":
            raise ClusterError(
                "expected a running Ray cluster, found none: start its head with `ray start "
                '--head`, or give the head with `address="HOST:PORT"`'
            ) from None
        raise ClusterError(_refused(address, error)) from None
    except (RayError, RuntimeError, ValueError, OSError) as error:
        raise ClusterError(_refused(address, error)) from None
    finally:
        # Ray takes SIGTERM for itself; the command line has its own way to end.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)


@contextlib.contextmanager
def _native_messages_dropped() -> Iterator[None]:
    """Drop what Ray's library writes to standard error: the same refusal every second."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _refused(address: str, error: BaseException) -> str:
    return (
        f"cannot join the Ray cluster at {address}: {foreign_message(error)}; this machine must be "
        "a node of it, with the same versions of Ray and Python and with its token "
        "(RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH)"
    )


def _reachable(address: str) -> str:
    """HOST:PORT of a head that can be reached; Ray would try for a minute."""
    host, port = _host_and_port(address)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return f"{host}:{port}"
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(
            f"expected the head of a Ray cluster at {host}:{port}, found none "
            f"({foreign_message(error)}): give the address that `ray start --head` prints"
        ) from None


def _host_and_port(address: str) -> tuple[str, str]:
    """Parts of HOST, HOST:PORT or an IPv6 address; the latter as Ray takes it, in brackets."""
    host, _, port = address.rpartition(":")
    if not host or "]" in port or (":" in host and not host.endswith("]")):
        host, port = address, str(_PORT)
    return (f"[{host}]" if ":" in host and "[" not in host else host), port


@contextlib.contextmanager
def _ray_errors() -> Iterator[None]:
    """Raise Ray's own failures as one line; lost tasks and actors are left to the caller."""
    try:
        yield
    except _LOST_ERRORS:
        raise
    except RayError as error:
        raise ClusterError(f"the Ray cluster failed: {foreign_message(error)}") from None


def _node_order(node: Mapping[str, Any]) -> tuple[str, str]:
    return node["NodeManagerAddress"], node["NodeID"]
