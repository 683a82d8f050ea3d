"""A part of an evaluation whose databases are open in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, check_bits, n_kept_rows
from hashkit.evaluation.bit_statistics import BitCounts, bit_counts
from hashkit.evaluation.database_marks import DatabaseMark
from hashkit.evaluation.label_facts import LabelFacts, labels_of
from hashkit.evaluation.part_task import DatabaseFacts, EvaluationTask
from hashkit.evaluation.passes import Passes, RankStarts, RowsDone
from hashkit.evaluation.split_queries import SplitQueries

__all__ = ["LocalEvaluationPart"]


class LocalEvaluationPart:
    """One or more databases; see `hashkit.evaluation.part_task.EvaluationPart`.

    Threads may call it at the same time. What it prepared for the last task is kept.

    Parameters
    ----------
    databases
        Banks or code sets of codes of the same number of bits.

    Raises
    ------
    CodesError
        If there is none, or they have different numbers of bits.
    """

    def __init__(self, databases: Sequence[CodeDatabase]) -> None:
        check_bits(databases)
        self._databases = list(databases)
        self._lock = threading.Lock()
        self._rest: tuple[str, list[CodeDatabase]] = ("", self._databases)
        self._passes: tuple[str, Passes] | None = None

    def facts(self, drawn: SplitQueries | None) -> list[DatabaseFacts]:
        """Facts of each database."""
        return list(map(_facts_of, self._without(drawn)))

    def marks(self) -> list[DatabaseMark]:
        """Marks of each database."""
        return list(map(DatabaseMark.of, self._databases))

    def histograms(
        self, task: EvaluationTask, queries: slice, rows_done: RowsDone
    ) -> NDArray[np.int64]:
        """Rows at each grade and distance: int64 [q, n_grades, n_bits + 1]."""
        return self._prepared(task).histograms(queries, rows_done)

    def precision_sums(
        self, task: EvaluationTask, queries: slice, starts: RankStarts, rows_done: RowsDone
    ) -> NDArray[np.uint64]:
        """Sums of precisions: uint64 [q, 2]."""
        return self._prepared(task).precision_sums(queries, starts, rows_done)

    def bit_counts(self, drawn: SplitQueries | None, first_row: int, n_rows: int) -> BitCounts:
        """Counts of the bits of all databases."""
        return bit_counts(self._without(drawn), first_row, n_rows)

    def _without(self, drawn: SplitQueries | None) -> list[CodeDatabase]:
        """The databases without the queries of a split."""
        if drawn is None:
            return self._databases
        with self._lock:
            key, rest = self._rest
            if key != drawn.key:
                rest = [drawn.left_out_of(database) for database in self._databases]
                self._rest = (drawn.key, rest)
        return rest

    def _prepared(self, task: EvaluationTask) -> Passes:
        databases = self._without(task.drawn)
        with self._lock:
            if self._passes is None or self._passes[0] != task.key:
                labels = [labels_of(database, "the database") for database in databases]
                matched = task.labels.with_labels(labels)
                passes = Passes(task.query_codes, task.n_bits, databases, matched, task.own_rows)
                self._passes = (task.key, passes)
            return self._passes[1]


def _facts_of(database: CodeDatabase) -> DatabaseFacts:
    labels = None
    if database.labels is not None:
        labels = LabelFacts.of(database, labels_of(database, "the database"))
    return DatabaseFacts(database.n_bits, len(database), n_kept_rows(database), labels)
