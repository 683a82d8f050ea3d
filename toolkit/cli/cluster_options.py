"""Options of the commands that run on a cluster, and the engine that they name."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from hashkit.cli.console import TERMINAL
from hashkit.errors import ConfigError

if TYPE_CHECKING:
    from hashkit.cluster.engine import Engine

__all__ = [
    "AddressOption",
    "ClusterChoice",
    "ClusterOption",
    "CpusOption",
    "GpusOption",
    "ReplicasOption",
    "cluster_engine",
]

_ENGINES = ("ray",)

ClusterOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="Run on a cluster: ray. All nodes must see the same files.",
        show_default="this machine",
    ),
]
AddressOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="NAME",
        help="With --cluster: the cluster's head, as HOST or HOST:PORT.",
        show_default="auto: the cluster of this machine",
    ),
]
ReplicasOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--replicas",
        metavar="N",
        min=1,
        help="With --cluster: number of processes that hold each part, in case one fails.",
        show_default="1",
    ),
]


CpusOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--cpus-per-task",
        metavar="X",
        min=0.01,
        help="With --cluster: CPUs for each bank.",
        show_default="1, or a GPU's share",
    ),
]
GpusOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-task",
        metavar="X",
        min=0,
        help="With --cluster: GPUs for each bank; 0.5 lets two banks share one.",
        show_default="1 where there are GPUs",
    ),
]


@dataclasses.dataclass(frozen=True)
class ClusterChoice:
    """The options of a cluster, as they were typed.

    Raises
    ------
    ConfigError
        If the cluster is unknown, or an option of a cluster is given without one.
    """

    cluster: str | None = None
    address: str | None = None
    replicas: int | None = None
    cpus_per_task: float | None = None
    gpus_per_task: float | None = None

    def __post_init__(self) -> None:
        if self.cluster is not None and self.cluster not in _ENGINES:
            raise ConfigError(
                f"--cluster must be one of {', '.join(_ENGINES)}, not {self.cluster!r}"
            )
        for field in dataclasses.fields(self):
            if self.cluster is None and getattr(self, field.name) is not None:
                flag = f"--{field.name.replace('_', '-')}"
                raise ConfigError(f"{flag} needs --cluster: add --cluster ray")


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

    with contextlib.closing(RayEngine(address or "auto", TERMINAL)) as engine:
        yield engine
