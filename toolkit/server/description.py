"""The description of the server for programs (OpenAPI) and for people."""

from __future__ import annotations

import html
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from hashkit._version import __version__
from hashkit.server.service import Service

__all__ = ["docs", "openapi"]

_IMAGE: Final = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
_START: Final = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {
        "code": {"type": "string", "description": "A code, hexadecimal."},
        "row": {"type": "integer", "minimum": 0, "description": "A row of the bank."},
        "name": {"type": "string", "description": "The name of an image in the bank."},
    },
}
_LABEL: Final = {
    "description": "Class name, several, or null.",
    "oneOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "null"},
    ],
}
_HIT: Final = {
    "type": "object",
    "required": ["rank", "row", "distance", "name", "label"],
    "properties": {
        "rank": {"type": "integer"},
        "row": {"type": "integer"},
        "distance": {"type": "integer", "description": "Bits in which the codes differ."},
        "asymmetric_distance": {"type": "number", "description": "With oversample."},
        "name": {"type": "string"},
        "label": _LABEL,
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["query", "code", "label", "hits"],
    "properties": {
        "query": {"type": "string"},
        "code": {"type": "string"},
        "label": _LABEL,
        "row": {"type": "integer", "description": "The row of the query, if it is one."},
        "hits": {"type": "array", "items": _HIT},
    },
}
_ERROR: Final = {"type": "object", "properties": {"error": {"type": "string"}}}


def _parameter(
    name: str, text: str, kind: str = "integer", where: str = "query", **schema: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "description": text,
        "schema": {"type": kind, **schema},
    }


def _answers(good: int, text: str, content: dict[str, Any] | None, *bad: int) -> dict[str, Any]:
    answers: dict[str, Any] = {str(good): {"description": text}}
    if content is not None:
        answers[str(good)]["content"] = content
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status in bad:
        answers[str(status)] = {"description": _STATUSES[status], "content": error}
    return answers


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_STATUSES: Final = {
    400: "A parameter that is unknown, given twice or missing, or an empty or incomplete body.",
    401: "The token is missing or wrong.",
    403: "The host name is not allowed, or the server is read-only.",
    404: "There is no such row, image or name.",
    408: "The body did not come in time.",
    409: "There is an image with this name, or with one that some systems treat as the same.",
    413: "The body has too many bytes, or the image too many pixels.",
    415: "Not an image of a supported format, or JSON without its content type.",
    422: "A value out of range, or a damaged image.",
    503: "Too many requests wait, or the bank cannot be used now; see Retry-After.",
    504: "The answer took too long.",
    507: "The disk of the server is full.",
}

_PATHS: Final[dict[str, Any]] = {
    "/search": {
        "post": {
            "summary": "Find the nearest images to an image, a code, a row or a name.",
            "parameters": [
                _parameter("k", "Hits, 10 by default.", minimum=1),
                _parameter("radius", "All hits within this many bits instead.", minimum=0),
                _parameter("label", "Only images of this class; may be repeated.", "string"),
                _parameter("rerank", "1: order hits at equal distance by the logits.", enum=[0, 1]),
                _parameter("oversample", "With rerank: order this many times k images.", minimum=1),
            ],
            "requestBody": {
                "description": "The bytes of an image file; or JSON with a code, row or name: "
                '{"row": 12}, with the header Content-Type: application/json.',
                "required": True,
                "content": _IMAGE | _json({"$ref": "#/components/schemas/Start"}),
            },
            "responses": _answers(
                200,
                "The hits, nearest first.",
                _json({"$ref": "#/components/schemas/Answer"}),
                *(400, 403, 404, 408, 413, 415, 422, 503, 504),
            ),
        }
    },
    "/images": {
        "post": {
            "summary": "Add an image: a file in the folder of uploads, and a row of the bank.",
            "security": [{"token": []}],
            "parameters": [
                _parameter("name", "Its name, a path such as album/cat.jpg.", "string"),
            ],
            "requestBody": {
                "description": "The bytes of an image file.",
                "required": True,
                "content": _IMAGE,
            },
            "responses": _answers(
                201,
                "Name, row and code.",
                _json({"type": "object"}),
                *(400, 401, 403, 408, 409, 413, 415, 422, 503, 504, 507),
            ),
        }
    },
    "/images/{name}": {
        "delete": {
            "summary": "Remove an image: its file, and its row from all searches.",
            "security": [{"token": []}],
            "parameters": [_parameter("name", "Its name.", "string", "path")],
            "responses": _answers(204, "The image was removed.", None, 401, 403, 404, 503),
        }
    },
    "/rows/{row}/thumbnail": {
        "get": {
            "summary": "The picture of a row as a small JPEG file.",
            "parameters": [_parameter("row", "The row.", where="path")],
            "responses": _answers(200, "The picture.", _IMAGE, 403, 404, 503, 504),
        }
    },
    "/rows/{row}/image": {
        "get": {
            "summary": "The file of a row without metadata, or a JPEG file if no browser shows it.",
            "parameters": [_parameter("row", "The row.", where="path")],
            "responses": _answers(200, "The picture.", _IMAGE, 403, 404, 503, 504),
        }
    },
    "/rows": {
        "get": {
            "summary": "Some rows, evenly spaced over the bank.",
            "parameters": [
                _parameter("n", "Number of rows, 12 by default.", minimum=1, maximum=100),
                _parameter("turn", "A different number selects different rows.", minimum=0),
            ],
            "responses": _answers(200, "The rows.", _json({"type": "object"}), 400, 422),
        }
    },
    "/about": {
        "get": {
            "summary": "Title, number of rows and bits, classes, and limits.",
            "responses": _answers(200, "The facts.", _json({"type": "object"})),
        }
    },
    "/healthz": {
        "get": {"summary": "The process is alive.", "responses": _answers(200, "ok", None)}
    },
    "/readyz": {
        "get": {
            "summary": "Whether requests are answered without delay.",
            "responses": {"200": {"description": "ready"}, "503": {"description": "starting"}},
        }
    },
    "/metrics": {
        "get": {"summary": "Counters for Prometheus.", "responses": _answers(200, "Text.", None)}
    },
}


def _document() -> dict[str, Any]:
    """The description in the form of OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "hashkit", "version": __version__},
        "servers": [{"url": "."}],
        "paths": _PATHS,
        "components": {
            "schemas": {"Start": _START, "Answer": _ANSWER, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


async def openapi(_service: Service, _request: Request) -> Response:
    """``GET /openapi.json``."""
    return JSONResponse(_document())


async def docs(_service: Service, _request: Request) -> Response:
    """``GET /docs``: the description as a page that needs nothing from elsewhere."""
    return HTMLResponse(_page())


def _page() -> str:
    sections = [
        _section(path, method, operation)
        for path, methods in _document()["paths"].items()
        for method, operation in methods.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>hashkit: the server</title>'
        "<h1>The server</h1><p>For programs: "
        '<a href="openapi.json">openapi.json</a>. Errors are JSON: {"error": "one line"}.</p>'
        + "".join(sections)
    )


def _section(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{html.escape(one['name'])}</code>: {html.escape(one['description'])}</li>"
        for one in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("description", "")
    answers = "".join(
        f"<li>{status}: {html.escape(one['description'])}</li>"
        for status, one in operation["responses"].items()
    )
    return (
        f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation['summary'])}</p>"
        + (f"<p>Body: {html.escape(body)}</p>" if body else "")
        + f"<ul>{parameters}</ul><p>Answers:</p><ul>{answers}</ul>"
    )
