"""A client for `hashkit serve` in the process of the server: it adds and removes images.

What was answered is a line of a log, so that the client of the next start goes on, and so that a
check after a kill knows what must be there.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from pathlib import Path
from typing import Any, Final

__all__ = ["ANSWERED", "take_uploads"]

ANSWERED: Final = Path("answered.log")
_TOKEN: Final = "-".join(["only", "for", "this", "kill"])
_STEPS: Final = (
    *(("POST", number) for number in range(6)), ("DELETE", 2), ("POST", 6), ("DELETE", 5),
    ("POST", 7), ("POST", 8), ("DELETE", 0),
)  # fmt: skip
"""Requests, one after the other; a picture is not added twice."""
_LATER: Final = (503, 504)
"""Answers of a server that is busy, as on a machine under load."""
_DONE: Final = {"POST": (201, 409), "DELETE": (204, 404)}
"""Answers of a step, the second where a killed server had done it before it could answer."""


def take_uploads() -> None:
    """Let a server of this process take the uploads of a client, and end after them."""
    os.environ["HASHKIT_TOKEN"] = _TOKEN
    from hashkit.server import starting

    run_server = starting.run_server

    def run(service: Any, listener: Any) -> None:
        address = listener.getsockname()[:2]
        threading.Thread(target=_use, args=(service, address), daemon=True).start()
        run_server(service, listener)

    starting.run_server = run


def _use(service: Any, address: tuple[str, int]) -> None:
    from served_album import picture

    try:
        done = ANSWERED.read_text().splitlines() if ANSWERED.exists() else []
        for method, number in _STEPS[len(done) :]:
            name = f"{'sub/' if number % 3 else ''}{number}.png"
            path = f"/images?name={name}" if method == "POST" else f"/images/{name}"
            body = picture(number, side=16) if method == "POST" else None
            while (status := _status(address, method, path, body)) in _LATER:
                time.sleep(0.1)
            if status not in _DONE[method]:
                raise RuntimeError(f"{method} {name}: {status}")
            _log(f"{method} {name}\n")
        while not service.is_ready:
            time.sleep(0.01)
    except BaseException as error:
        os.write(2, f"the client failed: {error!r}\n".encode())
        os._exit(7)
    service.stop()


def _status(address: tuple[str, int], method: str, path: str, body: bytes | None) -> int:
    connection = _connection(address)
    headers = {"Authorization": f"Bearer {_TOKEN}", "Host": "localhost"}
    connection.request(method, path, body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def _connection(address: tuple[str, int]) -> http.client.HTTPConnection:
    """A connection to the server, which may not listen yet."""
    for _ in range(1_000):
        connection = http.client.HTTPConnection(*address, timeout=60)
        with contextlib.suppress(ConnectionRefusedError):
            connection.connect()
            return connection
        time.sleep(0.01)
    raise RuntimeError("the server does not listen")


def _log(line: str) -> None:
    handle = os.open(ANSWERED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode())  # whole or not at all
    os.close(handle)
