"""A local web server with faults, and a file on it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
from collections.abc import Iterator

import pytest

from hashkit.datasets import download
from hashkit.datasets.download import RemoteFile

CONTENT = bytes(range(256)) * 5000
PART = ".file.bin.hashkit-download"


class Server:
    """A local web server with faults that a test sets; `requests` records each Range header."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/file.bin": CONTENT}
        self.has_ranges = True
        self.has_length = True
        self.cuts: list[int | None] = []  # bytes of each answer to send; None: all
        self.statuses: list[int] = []
        self.requests: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        self.requests.append(wanted)
        if self.statuses:
            handler.send_error(self.statuses.pop(0))
            return
        body = self.files.get(handler.path)
        if body is None:
            handler.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start and self.has_ranges:
            if start >= len(body):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            body = body[start:]
        else:
            handler.send_response(200)
        if self.has_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        n_sent = self.cuts.pop(0) if self.cuts else None
        handler.wfile.write(body[:n_sent])


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A running server; downloads retry without a pause meanwhile."""
    monkeypatch.setattr(download, "_PAUSES_SECONDS", (0.0, 0.0))
    server = Server()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()


def remote(server, content=CONTENT, name="file.bin"):
    return RemoteFile(name, f"{server.url}/{name}", f"md5:{hashlib.md5(content).hexdigest()}")  # noqa: S324
