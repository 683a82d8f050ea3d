"""Evaluates a database in parts, each of which counts its own rows.

Every number of a report follows from counts: of rows at each distance and grade, and of precisions
in whole units. Counts of parts add up to those of the whole, whatever the parts are. Only the ranks
of relevant rows in row order need a second round, in which each part starts from the counts of the
parts before it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, CodeSet, check_bits
from hashkit.errors import CodesError, EvaluationError
from hashkit.evaluation.averages import means_by_distance, means_by_rank
from hashkit.evaluation.bit_statistics import BitStatistics, statistics_of_counts
from hashkit.evaluation.intervals import INTERVAL, bootstrap_interval
from hashkit.evaluation.label_facts import LabelFacts, missing_labels
from hashkit.evaluation.own_rows import OwnRows, match_own_rows
from hashkit.evaluation.part_task import DatabaseFacts, EvaluationPart, EvaluationTask
from hashkit.evaluation.relevance import LabelMatch, match_facts
from hashkit.evaluation.report import Report
from hashkit.evaluation.scoring import PartOfTask, QueryScores, query_blocks, score_queries
from hashkit.evaluation.settings import EvaluationSettings
from hashkit.evaluation.split_queries import SplitQueries, split_queries
from hashkit.threads import Together, one_by_one, run_parallel

__all__ = ["EvaluationPlan", "Progress", "evaluate_parts", "plan_parts"]

Progress: TypeAlias = Callable[[int, int], None]
"""``progress(done, total)``, counted in database rows processed; ends with done == total."""


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """What the parts of an evaluation count; made by `plan_parts`.

    Attributes
    ----------
    query
        The queries that are not deleted.
    labels
        Their labels.
    drawn
        The queries as those of a split; None if they are not.
    parts
        Each part with its task, in the order of their rows.
    part_rows
        Number of rows of each part, including deleted ones.
    n_database
        Rows that are ranked, of all parts, before a query's own row is left out.
    """

    query: CodeDatabase
    labels: LabelMatch
    drawn: SplitQueries | None
    parts: Sequence[PartOfTask]
    part_rows: Sequence[int]
    n_database: int


def evaluate_parts(
    queries: Sequence[CodeDatabase],
    parts: Sequence[EvaluationPart],
    settings: EvaluationSettings,
    *,
    progress: Progress | None = None,
    together: Together = one_by_one,
) -> Report:
    """Rank the rows of all parts for every query; the report equals that of `hashkit.evaluate`.

    Parameters
    ----------
    queries
        Banks or code sets of the same number of bits and the same classes, one after the other.
    parts
        The parts, in the order of their rows.
    settings
        The other arguments of `hashkit.evaluate`.
    progress
        As for `hashkit.evaluate`; may be called by several threads, one at a time.
    together
        Runs the calls of all parts.

    Raises
    ------
    CodesError, ConfigError, EvaluationError
        As `hashkit.evaluate` does.
    """
    plan = plan_parts(queries, parts, exclude_self=settings.exclude_self, together=together)
    measures = settings.measures(plan.n_database - settings.exclude_self)
    n_blocks = len(query_blocks(plan.parts))
    rows_done = _RowCounter(progress, sum(plan.part_rows), n_blocks)
    scores = score_queries(plan.parts, measures, rows_done, together)
    n_relevant = scores.relevant_histogram.sum(axis=1)
    kept = _counted_queries(n_relevant, settings)
    groups = {name: rows[kept[rows]] for name, rows in plan.labels.query_groups().items()}
    groups = {name: rows for name, rows in groups.items() if len(rows)}
    statistics, interval, *label_intervals = _after_scoring(plan, scores, kept, groups, together)
    return Report(
        bits=plan.query.n_bits,
        n_queries=len(plan.query),
        n_database=plan.n_database,
        n_without_relevant=int(np.count_nonzero(n_relevant == 0)),
        without_relevant=settings.without_relevant,
        exclude_self=settings.exclude_self,
        map_interval=interval,
        interval=dict(INTERVAL),
        convention=settings.convention,
        ndcg_gain=settings.ndcg_gain,
        per_label={name: float(scores.expected[rows].mean()) for name, rows in groups.items()},
        per_label_queries={name: len(rows) for name, rows in groups.items()},
        per_label_interval=dict(zip(groups, label_intervals, strict=True)),
        bit_statistics=statistics,
        average_precision=scores.expected,
        n_relevant=n_relevant,
        **means_by_rank(scores, kept, measures),
        **means_by_distance(scores, kept),
    )


def plan_parts(
    queries: Sequence[CodeDatabase],
    parts: Sequence[EvaluationPart],
    *,
    exclude_self: bool = False,
    together: Together = one_by_one,
) -> EvaluationPlan:
    """Match the queries with all parts, and say what each part counts.

    Raises
    ------
    CodesError, EvaluationError
        If queries and parts do not match, or there is nothing to rank.
    """
    n_bits = check_bits(queries)
    drawn = split_queries(queries)
    facts = together([functools.partial(part.facts, drawn) for part in parts])
    databases = list(itertools.chain.from_iterable(facts))
    for database in databases:
        if database.n_bits != n_bits:
            raise CodesError(f"expected a database of {n_bits} bits, found {database.n_bits} bits")
    query, n_database = _live_queries(queries), sum(database.n_kept for database in databases)
    if not len(query) or not n_database:
        raise EvaluationError(
            f"expected queries and database rows, found {len(query)} and {n_database}"
        )
    own_rows: list[OwnRows] = []
    if exclude_self:
        marks = together([part.marks for part in parts])
        own_rows = match_own_rows(queries, list(itertools.chain.from_iterable(marks)))
        if n_database == 1:
            raise EvaluationError(
                "`exclude_self=True` expects two rows or more, found one: nothing is left to rank"
            )
    labels = match_facts(query, _label_facts(databases))
    codes = check_codes(query.codes, n_bits, "query codes")
    bounds = itertools.pairwise(itertools.accumulate(map(len, facts), initial=0))
    tasks = [
        EvaluationTask(codes, n_bits, labels.of_part(*bound), _own_rows_of(own_rows, *bound), drawn)
        for bound in bounds
    ]
    return EvaluationPlan(
        query,
        labels,
        drawn,
        list(map(PartOfTask, parts, tasks)),
        [sum(database.n_rows for database in databases_of_part) for databases_of_part in facts],
        n_database,
    )


def _live_queries(queries: Sequence[CodeDatabase]) -> CodeDatabase:
    """The queries that are not deleted, as one database."""
    if len(queries) == 1 and queries[0].deleted is None:
        return queries[0]
    shapes = [None if part.labels is None else part.labels.shape[1:] for part in queries]
    if len(set(zip((tuple(part.class_names) for part in queries), shapes, strict=True))) > 1:
        raise EvaluationError(
            "expected queries of the same classes, found databases of queries with different class "
            "names or kinds of labels: evaluate each by itself"
        )
    live = [slice(None) if part.deleted is None else ~part.deleted for part in queries]
    pairs = list(zip(queries, live, strict=True))
    labels = [part.labels[rows] for part, rows in pairs if part.labels is not None]
    return CodeSet(
        np.concatenate([part.codes[rows] for part, rows in pairs]),
        queries[0].n_bits,
        np.concatenate(labels) if len(labels) == len(queries) else None,
        class_names=queries[0].class_names,
    )


def _label_facts(databases: Sequence[DatabaseFacts]) -> list[LabelFacts]:
    known = [database.labels for database in databases if database.labels is not None]
    if len(known) < len(databases):
        raise missing_labels("the database")
    return known


def _own_rows_of(own_rows: Sequence[OwnRows], first: int, stop: int) -> tuple[OwnRows, ...]:
    """Own rows in the databases ``first`` to ``stop`` (exclusive), numbered from the first."""
    return tuple(
        dataclasses.replace(rows, database=rows.database - first)
        for rows in own_rows
        if first <= rows.database < stop
    )


def _counted_queries(
    n_relevant: NDArray[np.int64], settings: EvaluationSettings
) -> NDArray[np.bool_]:
    """Whether each query counts in means, bool [q]."""
    if settings.without_relevant == "zero":
        return np.ones(len(n_relevant), np.bool_)
    kept = n_relevant > 0
    if not kept.any():
        raise EvaluationError(
            "no query has a relevant database row, and queries without one are dropped: check "
            "that both sets number or name their classes in the same way"
        )
    return kept


def _after_scoring(
    plan: EvaluationPlan,
    scores: QueryScores,
    kept: NDArray[np.bool_],
    groups: dict[str, NDArray[np.int64]],
    together: Together,
) -> list[Any]:
    """Statistics of the bits, the interval of the mean, and that of each group of queries."""
    intervals = [scores.expected[kept], *(scores.expected[rows] for rows in groups.values())]
    # The first task, which calls `together`, runs in this thread: `together` may require that.
    tasks: list[Callable[[], Any]] = [
        functools.partial(_bit_statistics, plan, together),
        *(functools.partial(bootstrap_interval, values) for values in intervals),
    ]
    return run_parallel(tasks)


def _bit_statistics(plan: EvaluationPlan, together: Together) -> BitStatistics:
    first_rows = itertools.accumulate(plan.part_rows, initial=0)
    n_rows = sum(plan.part_rows)
    return statistics_of_counts(
        together(
            [
                functools.partial(part.bit_counts, plan.drawn, first, n_rows)
                for (part, _), first in zip(plan.parts, first_rows, strict=False)
            ]
        )
    )


class _RowCounter:
    """Reports progress in rows of two passes, for any number of query blocks and threads."""

    def __init__(self, progress: Progress | None, n_rows: int, n_blocks: int) -> None:
        self._progress = progress
        self._n_rows, self._n_blocks = n_rows, n_blocks
        self._passed = 0
        self._lock = threading.Lock()

    def __call__(self, n_more: int) -> None:
        with self._lock:
            self._passed += n_more
            if self._progress is not None:
                self._progress(self._passed // self._n_blocks, 2 * self._n_rows)
