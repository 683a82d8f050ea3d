"""Reads the body of a request, up to a size and within a time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from hashkit.imaging.formats import format_of
from hashkit.server.failures import RequestError
from hashkit.server.limits import ServerLimits

__all__ = ["checked_image", "content_type", "read_body"]

_MULTIPART: Final = "multipart/form-data"
_CLOSE: Final = {"Connection": "close"}
_MOST_DIGITS: Final = 20


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


def checked_image(request: Request, body: bytes, *, takes_json: bool = False) -> bytes:
    """A body that begins as an image file does.

    Parameters
    ----------
    takes_json
        Whether the address also takes JSON.

    Raises
    ------
    RequestError
        415 if it does not.
    """
    if format_of(body) is not None:
        return body
    how = "send the bytes of the file"
    if content_type(request) == _MULTIPART:
        found = "a form"
    elif takes_json and body.lstrip()[:1] in (b"{", b"["):
        found, how = "JSON", "send it with the header Content-Type: application/json"
    else:
        found = "something else"
    raise RequestError(415, f"expected an image file as the body, found {found}: {how}")


async def _read(request: Request, max_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared[:_MOST_DIGITS]) > max_bytes:
        raise _too_large(max_bytes)
    parts, n_bytes = [], 0
    async for part in request.stream():
        n_bytes += len(part)
        if n_bytes > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    if not n_bytes:
        raise RequestError(400, "expected an image, or JSON, as the body, found nothing")
    return b"".join(parts)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(413, f"the body has more than the {max_bytes:,} bytes allowed")
