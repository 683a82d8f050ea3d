"""Evaluate rankings by Hamming distance: from codes and labels to a report.

docs/metrics.md defines every number. ``map``, ``map_best``, ``map_worst`` and ``map_index`` always
rank the whole database and divide by all relevant rows; only ``map_at`` depends on the
``convention`` argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hashkit.bank_set.joined import JoinedBanks
from hashkit.codesets import CodeDatabase, check_bits, check_database
from hashkit.evaluation.local_part import LocalEvaluationPart
from hashkit.evaluation.ndcg import DEFAULT_GAIN
from hashkit.evaluation.parts import Progress, evaluate_parts, plan_parts
from hashkit.evaluation.report import Report, WithoutRelevant
from hashkit.evaluation.scoring import average_precisions
from hashkit.evaluation.settings import DEFAULT_CUTOFFS, DEFAULT_KS, EvaluationSettings
from hashkit.inputs.arguments import checked_arguments

__all__ = [
    "DEFAULT_CUTOFFS",
    "DEFAULT_KS",
    "Report",
    "WithoutRelevant",
    "evaluate",
    "evaluate_with",
    "expected_map",
]


@checked_arguments
def evaluate(
    query: CodeDatabase | Sequence[CodeDatabase],
    database: CodeDatabase | Sequence[CodeDatabase],
    *,
    convention: str = "all-relevant",
    cutoffs: Sequence[int] | None = None,
    ks: Sequence[int] | None = None,
    ndcg_gain: str = DEFAULT_GAIN,
    without_relevant: WithoutRelevant = "zero",
    exclude_self: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Rank a database for every query and evaluate the rankings.

    Deleted rows are left out of queries and database. If the queries belong to a split, and the
    database is a bank of all images of that split, as in a run on a folder, the queries' rows are
    left out of the database.

    Parameters
    ----------
    query
        Queries: a bank or a `hashkit.codesets.CodeSet`, or several, such as a bank set; each must
        have a label.
    database
        A bank or code set, or several, such as a bank set.
    convention
        Divisor of ``map_at``; a name in `hashkit.evaluation.average_precision.CONVENTIONS`.
    cutoffs
        The R of ``map_at``; by default those of `DEFAULT_CUTOFFS` that do not exceed the database,
        and 10,000 for the convention caffe-dnnh.
    ks
        The k of ``precision_at``, ``recall_at`` and ``ndcg_at``; by default those of `DEFAULT_KS`
        that do not exceed the database.
    ndcg_gain
        Gain by shared labels in ``ndcg_at``; a name in `hashkit.evaluation.ndcg.GAINS`.
    without_relevant
        Queries without relevant rows count as 0 (``zero``) or are left out (``drop``).
    exclude_self
        Leave each query's own row out of its ranking and of every count. The query's bank must be
        one of the databases: the same object, identity or file.
    progress
        Called as ``progress(done, total)``, counted in database rows over two passes.

    Returns
    -------
    Report
        The metrics; `Report.to_dict` has them for JSON.

    Raises
    ------
    CodesError
        If queries and database have different numbers of bits.
    ConfigError
        If the convention, the gain, a cut-off or ``without_relevant`` is invalid.
    EvaluationError
        If labels are missing or cannot be matched, no query is left to average over, or
        ``exclude_self`` is given for different banks.
    """
    settings = EvaluationSettings(
        convention, cutoffs, ks, ndcg_gain, without_relevant, exclude_self
    )
    return evaluate_with(settings, query, database, progress)


def evaluate_with(
    settings: EvaluationSettings,
    query: CodeDatabase | Sequence[CodeDatabase],
    database: CodeDatabase | Sequence[CodeDatabase],
    progress: Progress | None = None,
) -> Report:
    """Like `evaluate`, with existing settings."""
    queries, part = _local(query, database)
    return evaluate_parts(queries, [part], settings, progress=progress)


def expected_map(
    query: CodeDatabase | Sequence[CodeDatabase], database: CodeDatabase | Sequence[CodeDatabase]
) -> float:
    """The ``map`` of `evaluate` in one pass, for model selection in a training loop.

    Raises
    ------
    CodesError
        If queries and database have different numbers of bits.
    EvaluationError
        If labels are missing or cannot be matched, or either side is empty.
    """
    queries, part = _local(query, database)
    plan = plan_parts(queries, [part])
    return float(average_precisions(plan.parts).mean())


def _local(
    query: CodeDatabase | Sequence[CodeDatabase], database: CodeDatabase | Sequence[CodeDatabase]
) -> tuple[list[CodeDatabase], LocalEvaluationPart]:
    """The databases of the queries, and those to rank, checked to have the same number of bits."""
    queries, databases = _single(query), _single(database)
    for one in queries:
        check_database(one, "the queries")
    check_bits(databases, check_bits(queries))
    return queries, LocalEvaluationPart(databases)


def _single(given: Any) -> list[CodeDatabase]:
    """A list of databases; the banks of a bank set are listed, so that they are not copied."""
    if isinstance(given, JoinedBanks):
        return list(given.banks)
    if isinstance(given, Sequence) and not isinstance(given, str | bytes):
        return [one for some in given for one in _single(some)]
    return [given]
