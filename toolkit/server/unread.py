"""Requests that are answered before their body is read: the rest of the body is discarded."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from hashkit.server.limits import ServerLimits

__all__ = ["UnreadBody"]

_CLOSE: Final = (b"connection", b"close")


class UnreadBody:
    """The messages of one request whose answer may come before its body was read.

    Such an answer is sent at once, and its connection is closed afterwards. A connection that is
    closed while its client still sends is reset, and many clients then lose the answer, so
    `discard` first reads what still comes. It does so for a limited time, because a client that
    sends slowly could otherwise keep its connection.

    Parameters
    ----------
    scope, receive, send
        Those of the request.
    limits
        At most the size of two bodies is discarded, in the time for one.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: ServerLimits) -> None:
        headers = Headers(scope=scope)
        self._receive, self._send = receive, send
        self._n_bytes, self._seconds = 2 * limits.max_bytes, limits.body_seconds
        has_body = "transfer-encoding" in headers or headers.get("content-length", "").strip("0")
        self._is_left = bool(has_body)
        # A client that waits to be asked for its body gets the answer instead, and sends nothing.
        self._is_asked = "expect" not in headers
        self._is_early = False
        self._is_open = False

    async def receive(self) -> Message:
        """The next part of the body."""
        self._is_asked = True
        message = await self._receive()
        self._is_left = message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the end of an early one is left to `discard`."""
        if message["type"] == "http.response.start" and self._is_left:
            names = {name.lower() for name, _ in message["headers"]}
            self._is_early = _CLOSE[0] not in names  # with the header, the client was too slow
            if self._is_early:
                message = {**message, "headers": [*message["headers"], _CLOSE]}
        elif self._is_early and not message.get("more_body", False):
            self._is_open = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def discard(self) -> None:
        """Read what is left of the body after an early answer, then end the answer."""
        if not self._is_open:
            return
        left = self._n_bytes if self._is_asked else 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while self._is_left and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
