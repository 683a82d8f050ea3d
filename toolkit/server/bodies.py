"""Reads the body of a request, up to a size and within a time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from hashkit.imaging.formats import format_of
from hashkit.server.failures import RequestError
from hashkit.server.limits import ServerLimits

__all__ = ["checked_image", "content_type", "read_body"]

_FORM: Final = "multipart/form-data"
_CLOSE: Final = {"Connection": "close"}


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


def content_type(request: Request) -> str:
    """The type that a client declares, in lower case; empty if it does not."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def checked_image(request: Request, body: bytes) -> bytes:
    """A body that begins as an image file does.

    Raises
    ------
    RequestError
        415 if it does not.
    """
    if format_of(body) is None:
        found = "a form" if content_type(request) == _FORM else "something else"
        raise RequestError(
            415,
            f"expected an image file as the body, found {found}: send the bytes of the file",
        )
    return body


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    # Clients that wait for "100 Continue" get the answer before they send anything.
    if request.headers.get("expect") and declared.isdigit() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    parts, n_bytes = [], 0
    async for part in request.stream():
        n_bytes += len(part)
        # Most clients read the answer only after they have sent all: as much again is discarded.
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
