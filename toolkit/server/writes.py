"""The answers to requests that add or remove an image."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hashkit.codes import to_hex
from hashkit.server.bodies import checked_image, read_body
from hashkit.server.failures import RequestError
from hashkit.server.queries import checked_parameters
from hashkit.server.service import Service
from hashkit.server.uploads import NewImage, Uploads

__all__ = ["add_image", "remove_image"]

_SCHEME = "bearer "


async def add_image(service: Service, request: Request) -> Response:
    """``POST /images?name=NAME``: a new file in the folder, and a new row of the bank."""
    uploads = await _uploads(service, request)
    name = checked_parameters(request.query_params, "name").get("name", "")
    if not name:
        raise RequestError(400, "expected the parameter name, as name=cat.jpg, found none")
    await service.in_thread(uploads.check_new, name)
    data = checked_image(request, await read_body(request, service.settings.limits))
    async with asyncio.timeout(service.settings.limits.answer_seconds):
        encoded = await service.searcher.encoded(data)
    # No timeout here: a write is not abandoned half-way, and the client gets its result.
    row = await uploads.add(NewImage(name, data, encoded.code))
    return JSONResponse({"name": name, "row": row, "code": to_hex(encoded.code)}, 201)


async def remove_image(service: Service, request: Request) -> Response:
    """``DELETE /images/NAME``: neither the file nor its rows are there any longer."""
    uploads = await _uploads(service, request)
    checked_parameters(request.query_params)
    await uploads.remove(request.path_params["name"])
    return Response(status_code=204)


async def _uploads(service: Service, request: Request) -> Uploads:
    """The object that makes changes, after a check that the client may make them."""
    if service.uploads is None:
        raise RequestError(403, "this server takes no changes: it was not started as writable")
    given = request.headers.get("authorization", "")
    is_scheme = given[: len(_SCHEME)].lower() == _SCHEME
    token = given[len(_SCHEME) :].strip() if is_scheme else ""
    # In constant time, so that timing does not reveal the token.
    if not hmac.compare_digest(token.encode(), service.settings.token.encode()):
        raise RequestError(
            401,
            "expected the header Authorization: Bearer TOKEN with this server's token, found "
            + ("another token" if token else "none"),
            {"WWW-Authenticate": "Bearer"},
        )
    async with asyncio.timeout(service.settings.limits.answer_seconds):
        await service.ready()
    return service.uploads
