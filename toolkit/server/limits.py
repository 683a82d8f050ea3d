"""Limits of one request, and of all requests together."""

from __future__ import annotations

import dataclasses

from hashkit.errors import ConfigError

__all__ = ["ServerLimits"]


@dataclasses.dataclass(frozen=True)
class ServerLimits:
    """Limits of the server; the number of pixels is that of `hashkit.set_limits`.

    Attributes
    ----------
    max_bytes
        Largest body of a request, bytes.
    max_k
        Largest number of hits of an answer.
    max_waiting
        Requests that are worked on or wait; a further one is answered with 503.
    max_connections
        Open connections; a further one is closed.
    header_seconds, body_seconds
        Time in which the headers, and then the body, of a request must have come.
    answer_seconds
        Time in which an answer is made, from the end of the body on.
    idle_seconds
        Time for which a connection is kept without a request, or with an answer that its client
        does not read.
    stop_seconds
        Time that requests have to end when the server is stopped.
    max_batch
        Images that the model gets at once, and queries that are searched at once.

    Raises
    ------
    ConfigError
        If one of them is not above 0.
    """

    max_bytes: int = 20_000_000
    max_k: int = 1000
    max_waiting: int = 64
    max_connections: int = 512
    header_seconds: float = 10
    body_seconds: float = 30
    answer_seconds: float = 30
    idle_seconds: float = 30
    stop_seconds: float = 30
    max_batch: int = 32

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ConfigError(f"`{name}` must be above 0, not {value}")
