"""What jobs on a cluster need from the engine that runs them: tasks, and actors that answer calls.

An engine places work, makes lost actors again, and moves arguments and results, which can be
pickled. A `hashkit.errors.HashkitError` that a job raises is raised again where its result
is read; `LostError` means that the engine lost the job, so that it can be tried again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Protocol, TypeAlias

__all__ = ["PING", "Actor", "Call", "Engine", "LostError", "Resources"]

PING: Final = "ping"
"""Method that every actor answers at once, even while it works on another call."""


class LostError(Exception):
    """A task or call that was lost with its process or node."""


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a task or an actor takes of a node while it runs.

    Attributes
    ----------
    cpus
        CPUs; 0 for an actor that shares them with others.
    gpus
        GPUs, or a fraction of one.
    """

    cpus: float = 1
    gpus: float = 0


Call: TypeAlias = Hashable
"""A task that runs, or a call of an actor."""


class Actor(Protocol):
    """An object in a process of its own, on one of the nodes."""

    def call(self, method: str, *arguments: Any) -> Call:
        """Start a call of one of its methods."""
        ...


class Engine(Protocol):
    """Runs tasks and actors."""

    @property
    def n_nodes(self) -> int:
        """Nodes that run tasks."""
        ...

    @property
    def n_cpus(self) -> float:
        """CPUs of all nodes."""
        ...

    @property
    def n_gpus(self) -> float:
        """GPUs of all nodes."""
        ...

    def task(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], resources: Resources
    ) -> Call:
        """Start a function of a module, once, on any node."""
        ...

    def actor(
        self, make: Callable[..., Any], arguments: tuple[Any, ...], node: int, resources: Resources
    ) -> Actor:
        """Start an actor: the object that a function or class of a module makes.

        It starts on node number ``node`` if possible. If its process or node is lost, it is made
        again, on another node if need be; calls that run meanwhile are lost.
        """
        ...

    def wait(self, calls: Sequence[Call], seconds: float | None) -> list[Call]:
        """Calls that have ended; waits for one up to ``seconds``, or as long as it takes."""
        ...

    def result(self, call: Call) -> Any:
        """Result of a call that has ended.

        Raises
        ------
        LostError
            If it was lost.
        HashkitError
            The one that it raised.
        ClusterError
            If it ended with another exception, or the engine failed.
        """
        ...

    def close(self) -> None:
        """End all tasks and actors."""
        ...
