"""The answers to requests, one function each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hashkit.bank.reader import Bank
from hashkit.codes import from_hex
from hashkit.codesets import kept_rows, label_names
from hashkit.errors import ImageError
from hashkit.server.bodies import checked_image, content_type, read_body
from hashkit.server.failures import RequestError, failure_response
from hashkit.server.metrics import CONTENT_TYPE_LATEST
from hashkit.server.pictures import Picture
from hashkit.server.queries import (
    SearchOptions,
    Start,
    checked_parameters,
    search_options,
    start_of,
    whole,
)
from hashkit.server.service import Service
from hashkit.workflow.search_results import Query, json_label

__all__ = [
    "about",
    "answered",
    "health",
    "image",
    "metrics",
    "readiness",
    "sample_rows",
    "search",
    "thumbnail",
]

Handler: TypeAlias = Callable[[Service, Request], Awaitable[Response]]

_MOST_ROWS: Final = 100


def answered(handler: Handler, route: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler whose errors become answers, and which is counted as ``route``."""

    async def answer(request: Request) -> Response:
        request.scope["hashkit_route"] = route
        try:
            return await handler(request.app.state.service, request)
        except Exception as error:
            return failure_response(error)

    return answer


async def search(service: Service, request: Request) -> Response:
    """``POST /search``: the nearest images to one in the body, or to a code, row or name."""
    limits = service.settings.limits
    options = search_options(request.query_params, limits.max_k, service.bank.latest.bank.n_bits)
    body = await read_body(request, limits)
    async with asyncio.timeout(limits.answer_seconds):
        await service.ready()
        if content_type(request) == "application/json":
            answer = await _search_from(service, start_of(body), options)
        else:
            image = checked_image(request, body, takes_json=True)
            answer = await service.searcher.answer_image(image, options)
    return Response(answer, media_type="application/json")


async def _search_from(service: Service, start: Start, options: SearchOptions) -> bytes:
    if start.code is not None:
        if options.rerank:
            raise RequestError(422, "rerank needs an image: a code has no logits")
        code = from_hex(start.code, service.bank.latest.bank.n_bits)
        return await service.searcher.answer(Query("code", code, None), options)
    if start.name is not None:
        row = await service.in_thread(service.row_named, start.name)
    else:
        row = start.row or 0
    bank, own_row = service.bank_with(row)
    encoded = await service.encoded_row(bank, own_row, options)
    query = Query(bank.names[own_row], encoded.code, None, label_names(bank, own_row), row)
    return await service.searcher.answer(query, options, encoded.logits)


async def thumbnail(service: Service, request: Request) -> Response:
    """``GET /rows/N/thumbnail``."""
    return await _picture(service, request, service.pictures.thumbnail)


async def image(service: Service, request: Request) -> Response:
    """``GET /rows/N/image``."""
    return await _picture(service, request, service.pictures.image)


async def _picture(
    service: Service, request: Request, make: Callable[[Bank, int, str], Picture | None]
) -> Response:
    checked_parameters(request.query_params, "v")
    row = whole(request.path_params["row"], "the row", 0, 10**12 - 1)
    bank, own_row = service.bank_with(row)
    known = request.headers.get("if-none-match", "").removeprefix("W/").strip('"')
    async with asyncio.timeout(service.settings.limits.answer_seconds):
        try:
            picture = await service.in_thread(make, bank, own_row, known)
        except ImageError as error:  # of the server's own files
            raise RequestError(404, f"row {row} has no picture: {error.reason}") from None
    tag = known if picture is None else picture.tag
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=60"}
    if picture is None:
        return Response(status_code=304, headers=headers)
    return Response(picture.data, media_type=picture.media_type, headers=headers)


async def sample_rows(service: Service, request: Request) -> Response:
    """``GET /rows``: some rows, evenly spaced over the bank; others for another ``turn``."""
    parameters = checked_parameters(request.query_params, "n", "turn")
    n_rows = whole(parameters.get("n", "12"), "n", 1, _MOST_ROWS)
    turn = whole(parameters.get("turn", "0"), "turn", 0, 10**9)
    now = service.bank.current()
    live = range(len(now.bank)) if now.bank.deleted is None else kept_rows(now.bank)
    step = max(1, len(live) // n_rows)
    rows = [int(row) for row in live[turn % step :: step][:n_rows]]
    places = [now.located(row) for row in rows]
    found = [
        {"row": row, "name": bank.names[own_row], "label": json_label(label_names(bank, own_row))}
        for row, (bank, own_row) in zip(rows, places, strict=True)
    ]
    return JSONResponse({"rows": found})


async def about(service: Service, request: Request) -> Response:
    """``GET /about``."""
    checked_parameters(request.query_params)
    return JSONResponse(service.about())


async def health(service: Service, request: Request) -> Response:
    """``GET /healthz``: the process is alive."""
    return PlainTextResponse("ok\n")


async def readiness(service: Service, request: Request) -> Response:
    """``GET /readyz``: 200 when requests are answered without delay, until then 503.

    A server that still searches an earlier bank is ready: other servers of the same bank see the
    same file, and otherwise none would be left.
    """
    if not service.is_ready:
        return PlainTextResponse("starting\n", 503, {"Retry-After": "1"})
    state = await asyncio.to_thread(service.bank.state)
    if not state.can_search:
        return PlainTextResponse(f"{state.fault}\n", 503, {"Retry-After": "30"})
    return PlainTextResponse("ready" + (f", but {state.fault}" if state.fault else "") + "\n")


async def metrics(service: Service, request: Request) -> Response:
    """``GET /metrics``."""
    return Response(service.metrics.page(), media_type=CONTENT_TYPE_LATEST)
