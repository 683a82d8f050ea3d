"""Runs a server until it is stopped."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import threading
from collections.abc import Iterator
from typing import Final

import uvicorn

from hashkit.errors import ConfigError
from hashkit.server.app import make_app
from hashkit.server.connections import limited_connections
from hashkit.server.service import Service
from hashkit.server.settings import ServerSettings
from hashkit.signals import stopping_signals_taken

__all__ = ["address_of", "open_listener", "run_server"]

_FIRST_HANDLE: Final = 3
"""Handle of the first socket that a supervisor passes on."""


class _Server(uvicorn.Server):
    """A server that ends normally when a signal stops it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # only that one gets signals
            yield
            return
        with stopping_signals_taken(self.handle_exit):
            yield

    def stop(self) -> None:
        """End the server."""
        self.should_exit = True


def run_server(service: Service, listener: socket.socket) -> None:
    """Answer requests until SIGTERM, SIGINT or SIGHUP; requests in progress are then finished.

    Parameters
    ----------
    listener
        What `open_listener` gives.
    """
    limits = service.settings.limits
    config = uvicorn.Config(
        make_app(service),
        http=limited_connections(limits),
        ws="none",
        loop="asyncio",
        log_config=None,
        log_level="error",  # no warnings about invalid HTTP of clients
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=math.ceil(limits.idle_seconds),
        timeout_graceful_shutdown=math.ceil(limits.stop_seconds),
    )
    server = _Server(config)
    service.stop = server.stop
    server.run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


def open_listener(settings: ServerSettings) -> socket.socket:
    """The socket of a server, bound to its address.

    A socket that the supervisor has opened (systemd's socket activation, ``sd_listen_fds``) is
    used instead: connections wait in it while the server is started again.

    Raises
    ------
    ConfigError
        If there is no such address here, or the port is taken.
    """
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=_FIRST_HANDLE)
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"`host`: {host!r} is no address of this machine ({error})") from None
    try:
        if os.name != "nt":  # the option means something else there
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ConfigError(_why_not_bound(host, port, error)) from None
    return listener


def address_of(listener: socket.socket) -> str:
    """The address to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _why_not_bound(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program: choose another one with `port`"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights: choose one from 1024 with `port`"
    return f"`host`: {host!r} is no address of this machine ({error.strerror})"
