"""An engine of plain processes and pipes, to compare Ray with. It does not handle failures."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from hashkit.cluster.engine import PING, Resources
from hashkit.cluster.failures import guarded, opened

__all__ = ["PlainEngine"]


class PlainEngine:
    """Actors are processes that answer one call at a time; pings are answered in this process."""

    n_gpus = 0.0

    def __init__(self, n_nodes: int = 2) -> None:
        self.n_nodes = n_nodes
        self.n_cpus = float(n_nodes)
        self.actors: list[_PlainActor] = []

    def task(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], resources: Resources
    ) -> Any:
        raise NotImplementedError

    def actor(
        self, make: Callable[..., Any], arguments: tuple[Any, ...], node: int, resources: Resources
    ) -> _PlainActor:
        self.actors.append(_PlainActor(make, arguments))
        return self.actors[-1]

    def wait(self, calls: Sequence[Any], seconds: float | None) -> list[Any]:
        if any(call.is_ping for call in calls):
            return [call for call in calls if call.is_ping]
        ready = wait([call.pipe for call in calls], seconds)
        return [call for call in calls if call.pipe in ready]

    def result(self, call: Any) -> Any:
        if call.is_ping:
            return None
        result = call.pipe.recv()
        call.lock.release()
        return opened(result)

    def close(self) -> None:
        for actor in self.actors:
            actor.process.kill()
            actor.process.join()


class _PlainCall:
    def __init__(self, pipe: Connection, lock: threading.Lock, is_ping: bool) -> None:
        self.pipe, self.lock, self.is_ping = pipe, lock, is_ping


class _PlainActor:
    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._lock = threading.Lock()
        self.process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        self.process.start()

    def call(self, method: str, *arguments: Any) -> _PlainCall:
        if method != PING:
            self._lock.acquire()
            self._pipe.send((method, arguments))
        return _PlainCall(self._pipe, self._lock, method == PING)


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    made = make(*arguments)
    while True:
        method, given = pipe.recv()
        pipe.send(guarded(getattr(made, method), *given))
