"""Settings of a server."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hashkit.server.limits import ServerLimits

__all__ = ["ServerSettings"]


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """Where a server listens, whom it answers, and what clients may do.

    Attributes
    ----------
    host, port
        Where it listens; port 0 for any that is free.
    title
        Title of the page; empty for the name of the bank's images.
    writable
        Folder that takes uploads; None for none.
    token
        The secret of clients that write; empty if ``writable`` is None.
    allow_hosts
        Names by which the server may be called, besides addresses and ``localhost``; ``*`` for any.
    allow_origins
        Other sites, such as ``https://example.org``, whose pages may use the server.
    limits
        Limits of requests.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    title: str = ""
    writable: Path | None = None
    token: str = dataclasses.field(default="", repr=False)
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    limits: ServerLimits = dataclasses.field(default_factory=ServerLimits)
