"""Reads the body of a request, up to a size and within a time."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from hashkit.server.failures import RequestError
from hashkit.server.limits import ServerLimits

__all__ = ["read_body"]

_CLOSE = {"Connection": "close"}


async def read_body(request: Request, limits: ServerLimits) -> bytes:
    """The body of a request, at least one byte.

    Raises
    ------
    RequestError
        413 if it is too large, 408 if it does not come in time, 400 if it is empty, or the client
        went away.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(request, limits.max_bytes)
    except TimeoutError:
        raise RequestError(
            408, f"the body did not come within {limits.body_seconds:g} s", _CLOSE
        ) from None
    except ClientDisconnect:
        raise RequestError(400, "the client went away") from None


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    # Clients that wait for "100 Continue" get the answer before they send anything.
    if request.headers.get("expect") and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    parts, n_bytes = [], 0
    async for part in request.stream():
        n_bytes += len(part)
        # Most clients read the answer only when they have sent all: as much again is thrown away.
        if n_bytes > 2 * max_bytes:
            raise _too_large(max_bytes)
        if n_bytes <= max_bytes:
            parts.append(part)
        else:
            parts.clear()
    if n_bytes > max_bytes:
        raise _too_large(max_bytes)
    if not n_bytes:
        raise RequestError(400, "expected an image, or JSON, as the body, found nothing")
    return b"".join(parts)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body has more than the {max_bytes:,} bytes allowed", _CLOSE)
