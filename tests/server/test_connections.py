"""Clients that are slow, silent, many, or do not listen, on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import h11
import pytest
from processes import wait_until
from served_album import encoder, make_album, picture

import hashkit
from hashkit.server.connections import _JoinedAnswer
from hashkit.server.limits import ServerLimits
from hashkit.server.service import Service
from hashkit.server.serving import open_listener, run_server
from hashkit.server.settings import ServerSettings
from hashkit.workflow.row_images import RowImages

pytestmark = pytest.mark.end_to_end

LIMITS = ServerLimits(
    max_bytes=100_000, max_connections=8, header_seconds=0.4, body_seconds=0.4, idle_seconds=0.5
)


@contextlib.contextmanager
def running(bank, limits):
    """The address of a server in a thread."""
    settings = ServerSettings(port=0, limits=limits)
    service = Service(hashkit.Bank.open(bank), encoder(), RowImages(only_below=True), settings)
    with open_listener(settings) as listener:
        thread = threading.Thread(target=run_server, args=(service, listener))
        thread.start()
        wait_until(lambda: service.is_ready or service.failure is not None)
        try:
            yield listener.getsockname()[:2]
        finally:
            service.stop()
            thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with running(make_album(tmp_path_factory.mktemp("served"), 2), LIMITS) as address:
        yield address


def post(body: bytes, n_bytes: int | None = None) -> bytes:
    length = len(body) if n_bytes is None else n_bytes
    return b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length + body


def received(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    connection.settimeout(20)
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def asked(address, request: bytes) -> tuple[int, dict]:
    """Status and JSON of one request."""
    with socket.create_connection(address, 20) as connection:
        connection.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        head, _, body = received(connection).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_client_that_sends_no_headers_is_let_go(address):
    for begun in (b"", b"GET /about HTTP/1.1\r\nHost: loc"):
        with socket.create_connection(address) as connection:
            connection.sendall(begun)
            assert received(connection) == b""
    with socket.create_connection(address) as connection:  # the second request of a connection
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ab")
        assert received(connection).count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_come_is_not_waited_for(address):
    with socket.create_connection(address) as connection:
        connection.sendall(post(picture(0)[:100], 1000))
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":"the body did not come within 0.4 s"}' in answer


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(address):
    status, answer = asked(address, post(bytes(150_000)))
    assert (status, answer) == (413, {"error": "the body has more than the 100,000 bytes allowed"})
    chunked = b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, _ = asked(address, chunked + (b"fde8\r\n" + bytes(65_000) + b"\r\n") * 2 + b"0\r\n\r\n")
    assert status == 413
    with socket.create_connection(address) as connection:  # before a byte of it is sent
        connection.sendall(
            post(b"", 10**12).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
        )
        assert received(connection).startswith(b"HTTP/1.1 413 ")


def test_an_answer_does_not_wait_for_a_body_that_nobody_reads(address):
    """And a client that goes on sending it is let go."""
    refused = (post(b"", 10**9), post(b"", 10**9).replace(b"/search", b"/nothing"))
    for request, status in zip(refused, (b"413", b"404"), strict=True):
        with socket.create_connection(address, 20) as connection:
            connection.sendall(request)
            answer = connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 " + status)
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 20:
                    connection.sendall(b"x")
                    time.sleep(0.05)
            assert time.monotonic() - began < 10


def test_too_many_connections_are_told_to_come_later(address):
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.max_connections):
            stack.enter_context(socket.create_connection(address))
        with socket.create_connection(address) as connection:
            assert received(connection).startswith(b"HTTP/1.1 503 ")
    wait_until(lambda: asked(address, post(picture(0)))[0] == 200)


def test_a_client_that_does_not_read_is_let_go(tmp_path):
    bank = make_album(tmp_path, 1)
    (tmp_path / "album" / "0.png").write_bytes(picture(0, "PNG", side=1500, compress_level=0))
    with running(bank, LIMITS) as address, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        connection.sendall(b"GET /rows/0/image HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2 * LIMITS.idle_seconds)
        assert 0 < len(received(connection)) < 1500 * 1500 * 3


def test_requests_that_are_not_http_are_refused(address):
    for request in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 9):
        with socket.create_connection(address) as connection:
            connection.sendall(request)
            assert received(connection)[:12] in (b"HTTP/1.1 400", b"")


def test_head_and_body_of_an_answer_are_one_piece():
    http = _JoinedAnswer(h11.SERVER)
    for _ in range(2):
        http.receive_data(post(b"image"))
        events = [type(http.next_event()) for _ in range(3)]
        assert events == [h11.Request, h11.Data, h11.EndOfMessage]
        head = h11.Response(status_code=200, headers=[("Content-Length", "5")])
        assert http.send(head) == b""
        piece = http.send(h11.Data(data=b"found"))
        assert piece.startswith(b"HTTP/1.1 200 ")
        assert piece.endswith(b"\r\n\r\nfound")
        assert http.send(h11.EndOfMessage()) == b""
        http.start_next_cycle()
