"""The files of the search page, from the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hashkit.exporters.web.page_files import INDEX, page_files
from hashkit.server.failures import RequestError
from hashkit.server.service import Service

__all__ = ["page_file"]

_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}

_FILES: Final[Mapping[str, bytes]] = page_files()


async def page_file(_service: Service, request: Request) -> Response:
    """``GET /`` and the files that it names, which are looked up by whole path, not on the disk."""
    name = request.path_params.get("name")
    path = INDEX if name is None else f"page/{name}"
    if path not in _FILES:
        raise RequestError(404, "the page has no such file")
    kind = _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream")
    return Response(_FILES[path], media_type=kind, headers={"Cache-Control": "no-cache"})
