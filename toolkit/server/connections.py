"""Limits of connections: their number, and how long a client may neither send nor read."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hashkit.server.limits import ServerLimits

__all__ = ["limited_connections"]

_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n"
    b"retry-after: 1\r\nconnection: close\r\n\r\n"
    b'{"error": "too many connections: try again in a second"}'
)


class _JoinedAnswer(h11.Connection):
    """HTTP that sends the head of an answer and the first part of its body in one system call.

    Each call takes time, here and in the client, which it wakes.
    """

    _head = b""

    def send(self, event: h11.Event) -> bytes | None:  # type: ignore[override]  # two signatures
        data = super().send(event)
        if isinstance(event, h11.Response):
            self._head = data or b""
            return b""
        if self._head and data is not None:
            data, self._head = self._head + data, b""
        return data


class _LimitedConnection(H11Protocol):
    """A connection that is closed if headers do not arrive in time, or an answer is not read.

    uvicorn itself has no time limit for either.
    """

    limits = ServerLimits()

    _waiting: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.conn = _JoinedAnswer(h11.SERVER)
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._cancel_waiting()
        elif self._waiting is None and self.timeout_keep_alive_task is None:
            self._await_headers()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_waiting()
        self._cancel_writing()
        super().connection_lost(exc)

    def _await_headers(self) -> None:
        self._waiting = self.loop.call_later(self.limits.header_seconds, self._close)

    def _cancel_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _cancel_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _close(self) -> None:
        self._waiting = None
        self.transport.close()


def limited_connections(limits: ServerLimits) -> type[Any]:
    """The protocol class for uvicorn that enforces these limits."""
    return type("LimitedConnection", (_LimitedConnection,), {"limits": limits})
