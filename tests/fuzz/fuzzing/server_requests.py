"""Subjects of the server: bodies and names of requests, answered by the application in-process."""

from __future__ import annotations

import atexit
import contextlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from fuzzing.json_mutations import mutate_json_text
from fuzzing.mutations import Mutation, mutate_text
from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

__all__ = ["SERVER_SUBJECTS"]

_REFUSALS = range(400, 500)


def _client(folder: Path, stack: contextlib.ExitStack) -> Any:
    """A client of a server that takes uploads; it ends with the process."""
    from served_album import client_of, make_album

    from hashkit.server.limits import ServerLimits

    bank = make_album(folder / "served", 3)
    limits = ServerLimits(answer_seconds=3600)  # whoever runs the cases has a limit of its own
    album = folder / "served" / "album"
    return stack.enter_context(client_of(bank, writable=album, limits=limits))


def _answered(answer: Any) -> Any:
    """The JSON of a good answer; a refusal is raised, and anything else is a finding."""
    from hashkit.errors import HashkitError

    if answer.status_code in _REFUSALS:
        error = answer.json()["error"]
        assert isinstance(error, str)
        assert error
        raise HashkitError(error)
    assert answer.status_code < 300, f"{answer.status_code}: {answer.text[:500]}"
    return answer.json() if answer.content else None


def _subject(
    name: str,
    seeds: Callable[[], list[bytes]],
    ask: Callable[[Any, bytes, random.Random], None],
    *inside: Mutation,
) -> Callable[[Path], Subject]:
    def make(folder: Path) -> Subject:
        stack = contextlib.ExitStack()
        atexit.register(stack.close)
        clients: list[Any] = []

        def read(path: Path, rng: random.Random) -> None:
            if not clients:  # in the process that reads
                clients.append(_client(folder, stack))
            ask(clients[0], path.read_bytes(), rng)

        return Subject(folder / name, seeds(), read, inside)

    return make


def _json_seeds() -> list[bytes]:
    starts = ({"row": 1}, {"name": "sub/1.png"}, {"code": "a7b2a9a6074df059"})
    return [json.dumps(one).encode() for one in starts]


def _search_from(client: Any, body: bytes, rng: random.Random) -> None:
    query = rng.choice(("", "?k=2", "?radius=9", "?rerank=1"))
    found = _answered(
        client.post(f"/search{query}", content=body, headers={"Content-Type": "application/json"})
    )
    assert [hit["rank"] for hit in found["hits"]] == list(range(1, len(found["hits"]) + 1))


def _image_seeds() -> list[bytes]:
    from served_album import picture

    return [picture(9, kind, side=12) for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")]


def _search_with_image(client: Any, body: bytes, rng: random.Random) -> None:
    path = "/search" if rng.random() < 0.8 else "/images?name=new/x.png"
    found = _answered(client.post(path, content=body, headers=_writer()))
    if path != "/search":
        given = client.get(f"/rows/{found['row']}/{rng.choice(('image', 'thumbnail'))}")
        assert given.headers["content-type"].startswith("image/")
        assert client.delete("/images/new/x.png", headers=_writer()).status_code == 204


def _name_seeds() -> list[bytes]:
    names = ("cat.png", "album/cat.jpg", "a/b/c.webp", "grün/ü.tif", "sub/0.png", "a.png")
    return [name.encode() for name in names]


def _add_and_remove(client: Any, name: bytes, rng: random.Random) -> None:
    from served_album import picture

    address = quote_from_bytes(name[:3000], safe="/" if rng.random() < 0.5 else "")
    body = picture(9, side=12)
    made = _answered(client.post(f"/images?name={address}", content=body, headers=_writer()))
    assert made["name"].encode() == name
    gone = client.delete(f"/images/{address}", headers=_writer())
    assert gone.status_code == 204, gone.text


def _writer() -> dict[str, str]:
    from served_album import WRITER

    return WRITER


def _address_seeds() -> list[bytes]:
    return [
        b"/search?k=5&radius=3", b"/search?k=2&rerank=1&oversample=2", b"/rows?n=3&turn=1",
        b"/rows/1/image", b"/rows/2/thumbnail?v=1", b"/page/page.js", b"/about",
        b"/openapi.json",
    ]  # fmt: skip


def _ask_address(client: Any, data: bytes, rng: random.Random) -> None:
    from served_album import picture

    from hashkit.errors import HashkitError

    path = "/" + quote_from_bytes(data[:3000], safe="/?&=%+").lstrip("/")
    method = rng.choice(("GET", "GET", "POST", "POST", "HEAD", "DELETE", "OPTIONS", "PUT"))
    body = picture(9, side=12) if method in ("POST", "PUT") else None
    answer = client.request(method, path, content=body)
    assert answer.status_code < 500, answer.text[:500]
    if answer.status_code in _REFUSALS:
        raise HashkitError(answer.text[:200] or "refused")


SERVER_SUBJECTS = {
    "server-json": _subject("body.json", _json_seeds, _search_from, mutate_json_text),
    "server-image": _subject("body.png", _image_seeds, _search_with_image),
    "server-name": _subject("name.txt", _name_seeds, _add_and_remove, mutate_text),
    "server-address": _subject("address.txt", _address_seeds, _ask_address, mutate_text),
}
