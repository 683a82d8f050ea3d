"""Evaluation with the shards of a database in a cluster; the report equals that of one machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hashkit.evaluation.parts import Progress, evaluate_parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashkit.cluster.groups import GroupPart, ShardGroups
    from hashkit.codesets import CodeDatabase
    from hashkit.evaluation.bit_statistics import BitCounts
    from hashkit.evaluation.database_marks import DatabaseMark
    from hashkit.evaluation.part_task import DatabaseFacts, EvaluationTask
    from hashkit.evaluation.passes import RankStarts, RowsDone
    from hashkit.evaluation.report import Report
    from hashkit.evaluation.settings import EvaluationSettings
    from hashkit.evaluation.split_queries import SplitQueries

__all__ = ["evaluate_groups"]


def evaluate_groups(
    groups: ShardGroups,
    queries: Sequence[CodeDatabase],
    settings: EvaluationSettings,
    progress: Progress | None = None,
) -> Report:
    """Rank the rows of all groups for every query; see `hashkit.evaluate`.

    Raises
    ------
    CodesError, ConfigError, EvaluationError
        As `hashkit.evaluate` does.
    ClusterError
        If the cluster fails.
    """
    parts = [_EvaluatedGroup(part) for part in groups.parts]
    return evaluate_parts(queries, parts, settings, progress=progress, together=groups.together)


class _EvaluatedGroup:
    """A group of shards as an `EvaluationPart`; the work is done where the group is open."""

    def __init__(self, part: GroupPart) -> None:
        self._part = part

    def facts(self, drawn: SplitQueries | None) -> Sequence[DatabaseFacts]:
        found: Sequence[DatabaseFacts] = self._part.call("facts", drawn)
        return found

    def marks(self) -> Sequence[DatabaseMark]:
        found: Sequence[DatabaseMark] = self._part.call("marks")
        return found

    def histograms(
        self, task: EvaluationTask, queries: slice, rows_done: RowsDone
    ) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._part.call("histograms", task, queries)
        rows_done(self._part.n_rows)
        return found

    def precision_sums(
        self, task: EvaluationTask, queries: slice, starts: RankStarts, rows_done: RowsDone
    ) -> NDArray[np.uint64]:
        found: NDArray[np.uint64] = self._part.call("precision_sums", task, queries, starts)
        rows_done(self._part.n_rows)
        return found

    def bit_counts(self, drawn: SplitQueries | None, first_row: int, n_rows: int) -> BitCounts:
        found: BitCounts = self._part.call("bit_counts", drawn, first_row, n_rows)
        return found
