"""An engine in this process: tasks and actors run in threads; arguments and results are pickled.

Like processes, actors can be killed and stopped.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from hashkit.cluster.engine import PING, LostError, Resources
from hashkit.cluster.failures import guarded, opened

__all__ = ["InlineActor", "InlineEngine"]


class InlineActor:
    def __init__(self, make: Callable[..., Any], arguments: tuple[Any, ...]):
        self._make = pickle.dumps((make, arguments))
        self._pool = ThreadPoolExecutor(1)
        self._pings = ThreadPoolExecutor(1)
        self._goes = threading.Event()
        self._goes.set()
        self._running: list[Future[Any]] = []
        self.n_starts = 0
        self.calls: list[str] = []
        self.start()

    def start(self) -> None:
        make, arguments = pickle.loads(self._make)
        self._object = guarded(make, *arguments)
        self._is_dead = False
        self.n_starts += 1

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self._is_dead:
            future.set_exception(LostError("dead"))
            return future
        self._running.append(future)
        if method == PING:
            self._pings.submit(self._run, future, lambda: None)
            return future
        self.calls.append(method)
        packed = pickle.dumps((method, arguments))
        self._pool.submit(self._run, future, lambda: self._answer(packed))
        return future

    def kill(self) -> None:
        """Lose the running calls, and all later ones until `start`."""
        self._is_dead = True
        for future in self._running:
            if not future.done():
                future.set_exception(LostError("killed"))

    def stop(self) -> None:
        """Answer nothing until `go_on`."""
        self._goes.clear()

    def go_on(self) -> None:
        self._goes.set()

    def _answer(self, packed: bytes) -> bytes:
        method, arguments = pickle.loads(packed)
        result = guarded(lambda: getattr(opened(self._object), method)(*arguments))
        return pickle.dumps(result)

    def _run(self, future: Future[Any], work: Callable[[], Any]) -> None:
        self._goes.wait(30)
        result = work()
        if not future.done():
            future.set_result(result)


class InlineEngine:
    n_cpus = 2.0
    n_gpus = 0.0

    def __init__(self, n_nodes: int = 2):
        self.n_nodes = n_nodes
        self.actors: list[InlineActor] = []
        self.lost_tasks: list[int] = []
        self._pool = ThreadPoolExecutor(n_nodes)
        self._n_tasks = 0

    def task(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], resources: Resources
    ) -> Future[Any]:
        packed = pickle.dumps((function, arguments))

        def run() -> bytes:
            own, given = pickle.loads(packed)
            return pickle.dumps(guarded(own, *given))

        return self._pool.submit(run)

    def actor(
        self, make: Callable[..., Any], arguments: tuple[Any, ...], node: int, resources: Resources
    ) -> InlineActor:
        self.actors.append(InlineActor(make, arguments))
        return self.actors[-1]

    def wait(self, calls: Sequence[Any], seconds: float | None) -> list[Any]:
        if not calls:
            time.sleep(seconds or 0)
            return []
        return list(wait(calls, seconds, FIRST_COMPLETED).done)

    def result(self, call: Any) -> Any:
        result = call.result()
        return None if result is None else opened(pickle.loads(result))

    def close(self) -> None:
        for actor in self.actors:
            actor.kill()
