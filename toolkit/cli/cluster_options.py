"""Options of the commands that run on a cluster, and the engine that they name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from hashkit.cli.console import TERMINAL
from hashkit.errors import ConfigError

if TYPE_CHECKING:
    from hashkit.cluster.engine import Engine

__all__ = [
    "AddressOption",
    "ClusterOption",
    "ReplicasOption",
    "check_cluster_options",
    "cluster_engine",
]

_ENGINES = ("ray",)

ClusterOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="Work on a cluster: ray. All nodes read the same files.",
        show_default="this machine",
    ),
]
AddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="NAME",
        help="With --cluster: its head, as HOST or HOST:PORT.",
        show_default="auto: the cluster of this machine",
    ),
]
ReplicasOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="N",
        min=1,
        help="With --cluster: processes that hold each part, in case one fails.",
        show_default="1",
    ),
]


def check_cluster_options(
    cluster: str | None, address: str | None, replicas: int | None = None
) -> None:
    """Refuse an unknown cluster, and options of a cluster without one."""
    if cluster is not None and cluster not in _ENGINES:
        raise ConfigError(f"--cluster must be one of {', '.join(_ENGINES)}, not {cluster!r}")
    for name, value in (("--address", address), ("--replicas", replicas)):
        if cluster is None and value is not None:
            raise ConfigError(f"{name} goes with --cluster, found it alone: add --cluster ray")


@contextlib.contextmanager
def cluster_engine(address: str | None) -> Iterator[Engine]:
    """The cluster at an address, until the work is done.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    ClusterError
        If there is no such cluster.
    """
    from hashkit.workflow.extras import require

    require("cluster", "--cluster ray", "ray")
    from hashkit.cluster.ray_engine import RayEngine

    engine = RayEngine(address or "auto", TERMINAL)
    try:
        yield engine
    finally:
        engine.close()
