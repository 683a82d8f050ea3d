"""Checks and counts every request: host, number of waiting requests, time, and headers."""

from __future__ import annotations

import functools
import ipaddress
import socket
import time
from collections.abc import Collection
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashkit.server.failures import RequestError, failure_response
from hashkit.server.limits import ServerLimits
from hashkit.server.metrics import Metrics
from hashkit.server.unread import UnreadBody

__all__ = ["Gate", "is_own_host"]

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)
"""Headers of every answer: browsers guess no type, and other sites can neither embed it nor learn
its address."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
"""Methods with counters of their own; a client may make up any number of others."""

_ALWAYS_ANSWERED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Paths for supervisors, answered for any host name and however many requests wait."""


class Gate:
    """Middleware around the whole application.

    Parameters
    ----------
    app
        The application.
    limits, metrics
        Limits and counters of the server.
    hosts
        Names by which the server may be called besides addresses and ``localhost``; ``*`` for any.
    """

    def __init__(
        self,
        app: ASGIApp,
        limits: ServerLimits,
        metrics: Metrics,
        hosts: Collection[str],
    ) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._hosts = hosts
        self._n_waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        body = UnreadBody(scope, receive, send, self._limits)

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                known = {name.lower() for name, _ in message.get("headers", ())}
                added = [header for header in _HEADERS if header[0] not in known]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await body.send(message)

        try:
            await self._admit(scope, body.receive, sending)
        finally:
            route = scope.get("hashkit_route", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)
        await body.discard()

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Request(scope))
        if refusal is not None:
            await failure_response(refusal)(scope, receive, send)
            return
        self._n_waiting += 1
        self._metrics.waiting.set(self._n_waiting)
        try:
            await self._app(scope, receive, send)
        finally:
            self._n_waiting -= 1
            self._metrics.waiting.set(self._n_waiting)

    def _refusal(self, request: Request) -> RequestError | None:
        host = request.headers.get("host", "")
        if not is_own_host(host, self._hosts):
            return RequestError(
                403,
                f"the host name {host[:80]!r} is not allowed: whoever starts the server can allow "
                "it",
            )
        if self._n_waiting >= self._limits.max_waiting:
            text = "too many requests are waiting: try again in a second"
            return RequestError(503, text, {"Retry-After": "1"})
        return None


@functools.cache
def _own_name() -> str:
    """Name of this machine; asking the system for it takes as long as the rest of a request."""
    return socket.gethostname().lower()


def is_own_host(header: str, hosts: Collection[str]) -> bool:
    """Whether a Host header names this server.

    Another site can let one of its names point to this machine (DNS rebinding). Its pages can then
    make a browser send requests here and read the answers, but the requests carry that name. An
    address, ``localhost`` and the machine's own name cannot be used in this way.
    """
    if "*" in hosts:
        return True
    name = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    name = name.lower().rstrip(".")
    if name in {"localhost", _own_name(), *(host.lower() for host in hosts)}:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
