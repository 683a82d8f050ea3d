"""The application: which function answers which address."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hashkit.server import description, page, routes, writes
from hashkit.server.gate import Gate
from hashkit.server.service import Service

__all__ = ["make_app"]

_READ_ROUTES: Final = (
    ("/", page.page_file),
    ("/page/{name}", page.page_file),
    ("/about", routes.about),
    ("/rows", routes.sample_rows),
    ("/rows/{row}/thumbnail", routes.thumbnail),
    ("/rows/{row}/image", routes.image),
    ("/healthz", routes.health),
    ("/readyz", routes.readiness),
    ("/metrics", routes.metrics),
    ("/openapi.json", description.openapi),
    ("/docs", description.docs),
)


def make_app(service: Service) -> Starlette:
    """The application of a service, which is warmed up when the application starts."""
    settings = service.settings
    middleware = [
        Middleware(Gate, settings.limits, service.metrics, settings.allow_hosts),
    ]
    if settings.allow_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.allow_origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type"],
            )
        )
    app = Starlette(
        routes=_routes(),
        middleware=middleware,
        exception_handlers={HTTPException: _refused},
        lifespan=_lifespan,
    )
    app.state.service = service
    return app


def _routes() -> list[Route]:
    reading = [Route(path, routes.answered(handler, path)) for path, handler in _READ_ROUTES]
    writing = [
        ("POST", "/search", routes.search),
        ("POST", "/images", writes.add_image),
        ("DELETE", "/images/{name:path}", writes.remove_image),
    ]
    posting = [
        Route(path, routes.answered(handler, path), methods=[method])
        for method, path, handler in writing
    ]
    return [*posting, *reading]  # tried in this order, and searches come most often


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    service: Service = app.state.service
    warming = asyncio.create_task(service.warm_up())
    try:
        yield
    finally:
        warming.cancel()
        service.close()


async def _refused(_: Request, error: Exception) -> Response:
    """No such address, or method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered above
    return JSONResponse({"error": error.detail.lower()}, error.status_code, error.headers)
