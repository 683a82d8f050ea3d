"""What a server is started with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hashkit.server.limits import ServerLimits

__all__ = ["ServerSettings"]


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """Settings of a server.

    Attributes
    ----------
    host, port
        Where it listens; port 0 for any that is free.
    title
        Title of the page; empty for the name of the bank's images.
    writable
        Folder that takes uploads; None for none.
    token
        What a client that writes must know; empty if ``writable`` is None.
    allow_hosts
        Names by which the server may be called, besides addresses and ``localhost``; ``*`` for any.
    allow_origins
        Other sites, such as ``https://example.org``, whose pages may use the server.
    limits
        What requests may take.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    title: str = ""
    writable: Path | None = None
    token: str = dataclasses.field(default="", repr=False)
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    limits: ServerLimits = dataclasses.field(default_factory=ServerLimits)
