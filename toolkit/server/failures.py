"""Answers to requests that fail: a status code, and JSON with one line."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Mapping
from typing import Final

from starlette.responses import JSONResponse, Response

from hashkit.errors import BankError, CodesError, ConfigError, HashkitError, ImageError
from hashkit.inputs.limits import limits

__all__ = ["RequestError", "failure_response"]

logger: Final = logging.getLogger("hashkit.server")

_IMAGE_STATUS: Final = {
    "missing": 404,
    "broken": 422,
    "truncated": 422,
    "too-large": 413,
    "unsupported": 415,
}
"""Status codes of images that cannot be used, by reason."""

_DISK_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

_LATER: Final = {"Retry-After": "1"}

_CODE_SPAN: Final = re.compile(r"`(\w+)(?:=[^`]*)?`")


class RequestError(Exception):
    """A request that is refused.

    Attributes
    ----------
    status
        The status code.
    headers
        Further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def failure_response(error: Exception) -> Response:
    """The answer to a request that failed."""
    failure = _failure_of(error)
    return JSONResponse({"error": str(failure)}, failure.status, failure.headers)


def _failure_of(error: Exception) -> RequestError:
    """The refusal that an exception becomes; what is not the client's fault is logged.

    A message about the server's own files stays in the log: it has paths of this machine.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, ImageError):
        return RequestError(_IMAGE_STATUS[error.reason], _image_text(error))
    if isinstance(error, ConfigError | CodesError):
        return RequestError(422, _CODE_SPAN.sub(r"\1", str(error)))
    if isinstance(error, TimeoutError):
        return RequestError(504, "the answer took too long: try again later", {"Retry-After": "5"})
    if isinstance(error, MemoryError):
        return RequestError(503, "there is not enough memory now: try again later", _LATER)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return RequestError(507, "the disk of the server is full")
    if isinstance(error, BankError):
        logger.error("%s", error)
        return RequestError(503, "the bank cannot be used now: try again later", _LATER)
    if isinstance(error, OSError):
        logger.error("%s", error)
        text = "the server cannot read or write a file now: try again later"
        return RequestError(503, text, _LATER)
    if isinstance(error, HashkitError):
        logger.error("%s", error)
    else:
        logger.error("a request failed", exc_info=error)
    return RequestError(500, "the server failed; its log says why")


def _image_text(error: ImageError) -> str:
    """The message without the advice for the machine that runs the server."""
    if error.reason == "too-large":
        return f"the image has more than the {limits().image_pixels:,} pixels that are allowed"
    if error.reason == "missing":
        return "the image's file is missing"
    return str(error)
