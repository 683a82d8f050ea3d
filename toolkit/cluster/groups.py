"""The shards of a database in actors: one for each group of shards, with replicas if wanted."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from hashkit._version import __version__
from hashkit.cluster.engine import Engine, Resources
from hashkit.cluster.grouping import group_bounds
from hashkit.cluster.replicas import STARTING, Replicas
from hashkit.cluster.shard_group import RowFilter, ShardFile, ShardGroup
from hashkit.cluster.together import Threads
from hashkit.workflow.reporter import SILENT, Reporter, plural

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank
    from hashkit.retrieval.part_query import PartAnswer, PartCounts, PartQuery

__all__ = ["GroupPart", "ShardGroups"]

_NO_CPUS = Resources(cpus=0)
"""An actor waits most of the time, and there must be room for one that is started again."""


class GroupPart:
    """A group of shards somewhere in the cluster, as a part of a search.

    Attributes
    ----------
    first_row
        Number in the database of its first row.
    n_rows
        Its rows, including deleted ones.
    """

    def __init__(self, replicas: Replicas, first_row: int, n_rows: int) -> None:
        self.first_row = first_row
        self.n_rows = n_rows
        self._replicas = replicas
        self._rows: RowFilter | None = None

    def filtered(self, labels: Sequence[str], left_out: Sequence[int]) -> GroupPart:
        """The same part with a filter; ``left_out`` are row numbers of the database."""
        local_rows = (row - self.first_row for row in left_out)
        rows = RowFilter(tuple(labels), tuple(row for row in local_rows if 0 <= row < self.n_rows))
        part = GroupPart(self._replicas, self.first_row, self.n_rows)
        part._rows = None if rows == RowFilter() else rows
        return part

    def call(self, method: str, *arguments: Any) -> Any:
        """Result of a method of `ShardGroup`."""
        return self._replicas.call(method, *arguments)

    def count(self, query: PartQuery, where: NDArray[Any] | None) -> PartCounts:
        """See `hashkit.retrieval.part_query.SearchPart`."""
        counts: PartCounts = self.call("count", query, where, self._rows)
        return counts

    def answer(
        self, query: PartQuery, where: NDArray[Any] | None, sizes: NDArray[np.int64] | None
    ) -> PartAnswer:
        """See `hashkit.retrieval.part_query.SearchPart`."""
        answer: PartAnswer = self.call("answer", query, where, self._rows, sizes)
        return answer


class ShardGroups:
    """The shards of a database in actors of a cluster.

    Parameters
    ----------
    engine
        Runs the actors.
    banks
        The shards, open here too. Every node reads them under the same paths.
    n_groups
        Groups of shards; None for one per node.
    n_replicas
        Actors per group, on different nodes if there are as many.
    n_threads
        Threads of an actor; None for one per CPU of its node.
    reporter
        Takes notes.

    Attributes
    ----------
    parts
        The groups, in the order of their rows.
    offsets
        int64 [n_shards + 1], the first row of each shard.
    together
        Runs calls of several parts at the same time.

    Raises
    ------
    HashkitError
        If a node cannot open a shard, or has another version of hashkit.
    """

    def __init__(
        self,
        engine: Engine,
        banks: Sequence[Bank],
        *,
        n_groups: int | None = None,
        n_replicas: int = 1,
        n_threads: int | None = None,
        reporter: Reporter = SILENT,
    ) -> None:
        if n_replicas > engine.n_nodes:
            reporter.note(
                f"warning: {plural(n_replicas, 'replica')} on {plural(engine.n_nodes, 'node')}: "
                "some share a node, and are lost together if it fails"
            )
        files = [ShardFile.of(bank) for bank in banks]
        self.offsets = np.cumsum([0, *(file.n_rows for file in files)], dtype=np.int64)
        bounds = group_bounds([file.n_rows for file in files], n_groups or engine.n_nodes)
        self._replicas: list[Replicas] = []
        self.parts: list[GroupPart] = []
        for number, (first, stop) in enumerate(bounds):
            arguments = (files[first:stop], __version__, n_threads)
            actors = [
                engine.actor(ShardGroup, arguments, number + replica, _NO_CPUS)
                for replica in range(n_replicas)
            ]
            replicas = Replicas(engine, actors, _name(first, stop, len(files)), reporter)
            self._replicas.append(replicas)
            start, end = self.offsets[[first, stop]].tolist()
            self.parts.append(GroupPart(replicas, start, end - start))
        self.together = Threads(len(bounds))
        try:
            self.together(
                [functools.partial(one.call, "ready", patience=STARTING) for one in self._replicas]
            )
        except BaseException:
            self.close()
            raise
        for one in self._replicas:
            one.prepare_spares("warm_up")

    def close(self) -> None:
        """End the calls that wait; the actors end with the engine."""
        for one in self._replicas:
            one.close()
        self.together.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _name(first: int, stop: int, n_shards: int) -> str:
    if stop - first == 1:
        return f"shard {first + 1} of {n_shards}"
    return f"{plural(stop - first, 'shard')} from {first + 1} of {n_shards}"
