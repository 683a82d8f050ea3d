"""A client that costs little, to measure a server on the same machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["Answer", "Pool", "closed_loop", "open_loop", "request_of"]

_AT_ONCE = 0.005
"""Seconds within which a connection that was closed before says so."""

Answer = tuple[int, bytes, float]
"""Status (0 if the connection broke), body, and seconds since the request was due."""


def request_of(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request on a connection that is kept."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self._parts = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self._answer = asyncio.get_running_loop().create_future()
        if not self.is_open:
            return 0, b""
        self.transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._parts += data
        end = self._parts.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._parts[:end]).lower()
        _, found, length = head.partition(b"content-length: ")
        stop = end + 4 + (int(length.partition(b"\r\n")[0]) if found else 0)
        if len(self._parts) >= stop:
            body, self._parts = bytes(self._parts[end + 4 : stop]), self._parts[stop:]
            self._done(int(head.split(None, 2)[1]), body)
            if b"connection: close" in head:
                self.is_open = False

    def connection_lost(self, _: Exception | None) -> None:
        self.is_open = False
        self._done(0, b"")

    def _done(self, status: int, body: bytes) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))


class Pool:
    """Connections to one address, made when they are needed."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._idle: list[_Connection] = []

    async def ask(self, request: bytes, *, is_safe: bool = False) -> tuple[int, bytes]:
        """Status and body; status 0 if the connection broke or could not be made.

        A request that may be sent twice, ``is_safe``, is sent again if a connection that was kept
        turns out to be closed, as every client of HTTP does.
        """
        self._idle = [one for one in self._idle if one.is_open]
        was_kept = bool(self._idle)
        if was_kept:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(_Connection, *self._address)
            except OSError:
                return 0, b""
        sent = time.perf_counter()
        status, body = await connection.ask(request)
        if connection.is_open:
            self._idle.append(connection)
        if status == 0 and was_kept and is_safe and time.perf_counter() - sent < _AT_ONCE:
            return await self.ask(request, is_safe=False)
        return status, body

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.transport.close()


async def closed_loop(
    address: tuple[str, int], requests: Sequence[bytes], n_clients: int, seconds: float
) -> tuple[list[Answer], float]:
    """Let clients ask one request after the other; returns the answers and the seconds."""
    pool, answers, numbers = Pool(address), list[Answer](), iter(range(1 << 62))
    start = time.perf_counter()

    async def client() -> None:
        while (began := time.perf_counter()) - start < seconds:
            status, body = await pool.ask(requests[next(numbers) % len(requests)])
            answers.append((status, body, time.perf_counter() - began))

    await asyncio.gather(*(client() for _ in range(n_clients)))
    pool.close()
    return answers, time.perf_counter() - start


async def open_loop(
    address: tuple[str, int],
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    *,
    is_random: bool,
    taken: Callable[[int, int, bytes, float], None],
) -> None:
    """Send requests when they are due, whatever the answers take.

    Parameters
    ----------
    rate
        Requests per second.
    is_random
        Whether they come at random (a Poisson process) instead of at equal distances.
    taken
        Called with number, status, body and seconds since the request was due.
    """
    pool, rng = Pool(address), np.random.default_rng(0)
    gaps = (
        rng.exponential(1, round(rate * seconds)) if is_random else np.ones(round(rate * seconds))
    )
    due = (np.cumsum(gaps) / rate).tolist()
    start = time.perf_counter()

    async def one(number: int) -> None:
        status, body = await pool.ask(requests[number % len(requests)])
        taken(number, status, body, time.perf_counter() - start - due[number])

    async with asyncio.TaskGroup() as group:
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, start + at - time.perf_counter()))
            group.create_task(one(number))
    pool.close()
