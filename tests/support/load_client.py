"""A client that takes little CPU time, to measure a server on the same machine."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import selectors
import socket
import time
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Client", "Load", "closed_loop", "open_loop", "request_of"]

_AT_ONCE = 0.005
"""Seconds within which a connection that had already been closed reports this."""

_PART = 1 << 16

Answered = Callable[[int, bytes], None]
"""Called with the status and the body; status 0 means that the connection failed."""


def request_of(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request on a persistent connection."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclasses.dataclass(eq=False)
class _Connection:
    """A connection, and the request on it."""

    socket: socket.socket
    answered: Answered
    unsent: memoryview = dataclasses.field(default_factory=lambda: memoryview(b""))
    received: bytearray = dataclasses.field(default_factory=bytearray)


class Client:
    """Requests to one address in one thread, over persistent connections.

    `ask` and `at` add work, and `run` does it.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._idle: list[_Connection] = []
        self._n_asked = 0
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call a function at a time of `time.perf_counter`."""
        heapq.heappush(self._due, (when, next(self._numbers), call))

    def ask(self, request: bytes, answered: Answered, *, is_safe: bool = False) -> None:
        """Send a request, and call a function with the answer.

        If a persistent connection turns out to be closed, a request that may be sent twice
        (``is_safe``) is sent again, as all HTTP clients do.
        """
        if self._idle:
            connection = self._idle.pop()
            if is_safe:
                answered = functools.partial(self._again, request, answered, time.perf_counter())
        else:
            try:
                connection = _Connection(socket.create_connection(self._address), answered)
            except OSError:
                self.at(0, functools.partial(answered, 0, b""))
                return
            connection.socket.setblocking(False)
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.answered = answered
        self._n_asked += 1
        connection.unsent = memoryview(request)
        self._send(connection)

    def run(self) -> None:
        """Work until all answers have arrived and no call is due."""
        while self._due or self._n_asked:
            wait = max(0.0, self._due[0][0] - time.perf_counter()) if self._due else None
            for key, events in self._selector.select(wait):
                if events & selectors.EVENT_WRITE:
                    self._send(key.data)
                if events & selectors.EVENT_READ:
                    self._receive(key.data)
            while self._due and self._due[0][0] <= time.perf_counter():
                heapq.heappop(self._due)[2]()

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.socket.close()
        self._selector.close()

    def _send(self, connection: _Connection) -> None:
        try:
            n_sent = connection.socket.send(connection.unsent)
        except BlockingIOError:
            n_sent = 0
        except OSError:
            return  # reading from it reports the failure
        connection.unsent = connection.unsent[n_sent:]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        if self._selector.get_key(connection.socket).events != events:
            self._selector.modify(connection.socket, events, connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(_PART)
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            else:
                self._answer(connection, 0, b"")
            return
        received = connection.received
        received += data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(received[:end]).lower()
        _, found, length = head.partition(b"content-length: ")
        stop = end + 4 + (int(length.partition(b"\r\n")[0]) if found else 0)
        if len(received) < stop:
            return
        body = bytes(received[end + 4 : stop])
        received.clear()
        if b"connection: close" in head:
            self._drop(connection)
        else:
            self._idle.append(connection)
        self._answer(connection, int(head.split(None, 2)[1]), body)

    def _drop(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _answer(self, connection: _Connection, status: int, body: bytes) -> None:
        self._n_asked -= 1
        connection.answered(status, body)

    def _again(
        self, request: bytes, answered: Answered, sent: float, status: int, body: bytes
    ) -> None:
        if status == 0 and time.perf_counter() - sent < _AT_ONCE:
            self.ask(request, answered)
        else:
            answered(status, body)


@dataclasses.dataclass
class Load:
    """Results of a load.

    Attributes
    ----------
    statuses
        Statuses of the answers, in the order of their arrival; 0 for a missing answer.
    latencies
        Seconds from the time at which each request was due to its answer.
    seconds
        Duration of the load.
    cpu_seconds
        CPU time of the client.
    """

    statuses: list[int] = dataclasses.field(default_factory=list)
    latencies: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def take(self, due: float, status: int, _body: bytes) -> None:
        """Take an answer to a request that was due at a time."""
        self.statuses.append(status)
        self.latencies.append(time.perf_counter() - due)


def closed_loop(
    address: tuple[str, int], requests: Sequence[bytes], n_clients: int, seconds: float
) -> Load:
    """Let each client send its next request when it has the answer to the last one."""
    client, load, following = Client(address), Load(), itertools.cycle(requests)
    start = time.perf_counter()

    def next_request() -> None:
        began = time.perf_counter()
        if began - start < seconds:
            client.ask(next(following), functools.partial(answered, began))

    def answered(began: float, status: int, body: bytes) -> None:
        load.take(began, status, body)
        next_request()

    for _ in range(n_clients):
        client.at(0, next_request)
    return _measured(client, load)


def open_loop(
    address: tuple[str, int],
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    is_random: bool,
) -> Load:
    """Send requests at fixed times, without waiting for answers.

    Parameters
    ----------
    rate
        Requests per second.
    is_random
        Whether they come at random (a Poisson process) instead of evenly.
    """
    client, load, rng = Client(address), Load(), np.random.default_rng(0)
    n_requests = round(rate * seconds)
    gaps = rng.exponential(1, n_requests) if is_random else np.ones(n_requests)
    start = time.perf_counter()
    for request, due in zip(
        itertools.cycle(requests), (start + np.cumsum(gaps) / rate).tolist(), strict=False
    ):
        answered = functools.partial(load.take, due)
        client.at(due, functools.partial(client.ask, request, answered))
    return _measured(client, load)


def _measured(client: Client, load: Load) -> Load:
    start, used = time.perf_counter(), time.process_time()
    client.run()
    load.seconds = time.perf_counter() - start
    load.cpu_seconds = time.process_time() - used
    client.close()
    return load
