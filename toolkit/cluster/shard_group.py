"""Some shards of a database, open in one process of a cluster; independent of the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.bank_set.remote import RemoteShard, remote_shard
from hashkit.cluster.versions import check_version
from hashkit.errors import BankMismatchError
from hashkit.evaluation.local_part import LocalEvaluationPart
from hashkit.retrieval.arguments import chosen_rows
from hashkit.retrieval.local_part import LocalSearchPart
from hashkit.workflow.narrowing import open_index, rows_with_labels
from hashkit.workflow.warm_up import warm_up_banks

if TYPE_CHECKING:
    from hashkit.evaluation.bit_statistics import BitCounts
    from hashkit.evaluation.database_marks import DatabaseMark
    from hashkit.evaluation.part_task import DatabaseFacts, EvaluationTask
    from hashkit.evaluation.passes import RankStarts
    from hashkit.evaluation.split_queries import SplitQueries
    from hashkit.retrieval.part_query import PartAnswer, PartCounts, PartQuery

__all__ = ["RowFilter", "ShardFile", "ShardGroup"]


@dataclasses.dataclass(frozen=True)
class ShardFile:
    """A bank as the driver has opened it; all nodes must see the same rows.

    Attributes
    ----------
    path
        Its file, under the same path on every node.
    identity, n_rows, n_deleted
        Those of the bank.
    remote
        Where it is in an object store; each node then copies it to a cache of its own.
    """

    path: str
    identity: str
    n_rows: int
    n_deleted: int
    remote: RemoteShard | None = None

    @classmethod
    def of(cls, bank: Bank) -> ShardFile:
        """The file of an open bank."""
        path, remote = str(bank.path.resolve()), remote_shard(bank.path)
        return cls(path, bank.identity, len(bank), bank.n_deleted, remote)

    def open(self) -> Bank:
        """Open the bank here.

        Raises
        ------
        BankError
            If it cannot be opened.
        BankMismatchError
            If it is not the bank that the driver has opened, or has changed since.
        """
        bank = Bank.open(Path(self.path) if self.remote is None else self.remote.local())
        found = ShardFile.of(bank)
        if dataclasses.replace(found, path=self.path, remote=self.remote) != self:
            raise BankMismatchError(
                f"{self.path}: expected the bank that was opened, with {self.n_rows:,} rows, "
                f"{self.n_deleted:,} of them deleted, found one with {found.n_rows:,} and "
                f"{found.n_deleted:,}: run the command again, and check that all nodes read the "
                "same files"
            )
        return bank


@dataclasses.dataclass(frozen=True)
class RowFilter:
    """Rows to search, in a form that does not grow with their number.

    Attributes
    ----------
    labels
        Only rows of these classes; all rows if empty.
    left_out
        Rows of the group that are left out.
    """

    labels: tuple[str, ...] = ()
    left_out: tuple[int, ...] = ()


class ShardGroup:
    """Consecutive shards of a database.

    Parameters
    ----------
    files
        The banks, in the order of their rows.
    version
        The driver's version of hashkit.
    n_threads
        Number of threads; None for one per CPU.

    Raises
    ------
    ClusterError
        If this node has another version.
    BankError, BankMismatchError
        As `ShardFile.open` does.
    """

    def __init__(
        self, files: Sequence[ShardFile], version: str, n_threads: int | None = None
    ) -> None:
        check_version(version)
        self._banks = [file.open() for file in files]
        self._n_threads = n_threads
        self._part = LocalSearchPart(
            self._banks, index=open_index(self._banks), n_threads=n_threads
        )
        self._evaluated = LocalEvaluationPart(self._banks)
        self._where: dict[tuple[str, ...], NDArray[np.bool_]] = {}

    def ready(self) -> None:
        """Return at once; a call is answered only when the banks are open."""

    def warm_up(self) -> None:
        """Read all codes once and load kernels, so that the first search need not."""
        warm_up_banks(self._banks, self._n_threads)

    def count(
        self, query: PartQuery, where: NDArray[Any] | None, rows: RowFilter | None
    ) -> PartCounts:
        """See `hashkit.retrieval.part_query.SearchPart`."""
        return self._part.count(query, self._chosen(where, rows))

    def answer(
        self,
        query: PartQuery,
        where: NDArray[Any] | None,
        rows: RowFilter | None,
        sizes: NDArray[np.int64] | None,
    ) -> PartAnswer:
        """See `hashkit.retrieval.part_query.SearchPart`."""
        return self._part.answer(query, self._chosen(where, rows), sizes)

    def facts(self, drawn: SplitQueries | None) -> list[DatabaseFacts]:
        """See `hashkit.evaluation.part_task.EvaluationPart`, also for the methods that follow."""
        return self._evaluated.facts(drawn)

    def marks(self) -> list[DatabaseMark]:
        """Marks of each shard."""
        return self._evaluated.marks()

    def histograms(self, task: EvaluationTask, queries: slice) -> NDArray[np.int64]:
        """Rows at each grade and distance."""
        return self._evaluated.histograms(task, queries, _ignore_progress)

    def precision_sums(
        self, task: EvaluationTask, queries: slice, starts: RankStarts
    ) -> NDArray[np.uint64]:
        """Sums of precisions."""
        return self._evaluated.precision_sums(task, queries, starts, _ignore_progress)

    def bit_counts(self, drawn: SplitQueries | None, first_row: int, n_rows: int) -> BitCounts:
        """Counts of the bits of all shards."""
        return self._evaluated.bit_counts(drawn, first_row, n_rows)

    def _chosen(self, where: NDArray[Any] | None, rows: RowFilter | None) -> NDArray[Any] | None:
        if rows is None:
            return where
        chosen = np.ones(self._part.n_rows, np.bool_)
        if where is not None:
            chosen &= chosen_rows(where, self._part.n_rows)
        if rows.labels:
            if rows.labels not in self._where:
                self._where = {rows.labels: rows_with_labels(self._banks, rows.labels)}
            chosen &= self._where[rows.labels]
        chosen[list(rows.left_out)] = False
        return chosen


def _ignore_progress(_n_rows: int) -> None:
    """Progress is counted by the driver."""
