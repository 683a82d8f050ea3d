"""Evaluate rankings by Hamming distance: from codes and labels to a report.

docs/metrics.md defines every number. ``map``, ``map_best``, ``map_worst`` and ``map_index`` always
rank the whole database and divide by all relevant rows; only ``map_at`` depends on the
``convention`` argument.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from hashkit.bank_set.joined import as_one
from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, CodeSet, check_bits, check_database, n_kept_rows
from hashkit.errors import ConfigError, EvaluationError
from hashkit.evaluation.average_precision import convention_named
from hashkit.evaluation.bit_statistics import bit_statistics
from hashkit.evaluation.intervals import INTERVAL, bootstrap_interval
from hashkit.evaluation.ndcg import DEFAULT_GAIN, gain_named
from hashkit.evaluation.own_rows import find_own_rows
from hashkit.evaluation.precision_recall import within_radius
from hashkit.evaluation.relevance import match_labels
from hashkit.evaluation.report import Report, WithoutRelevant
from hashkit.evaluation.scoring import (
    Measures,
    Progress,
    QueryScores,
    average_precisions,
    score_queries,
)
from hashkit.evaluation.split_queries import without_queries
from hashkit.inputs.arguments import checked_arguments, whole_number
from hashkit.threads import run_parallel

__all__ = [
    "DEFAULT_CUTOFFS",
    "DEFAULT_KS",
    "Report",
    "WithoutRelevant",
    "evaluate",
    "expected_map",
]

DEFAULT_CUTOFFS: Final = (1000, 5000)
"""Default R of ``map_at``; with the convention caffe-dnnh the default is 10,000."""

DEFAULT_KS: Final = (1, 5, 10, 50, 100, 500, 1000)
"""Default k of ``precision_at``, ``recall_at`` and ``ndcg_at``."""

_CAFFE_DNNH_CUTOFFS: Final = (10_000,)
_CURVE_STEPS: Final = 10  # points of the curve by rank per factor of ten
_BALL_QUERIES: Final = 512  # queries whose balls are averaged at a time


@checked_arguments
def evaluate(
    query: CodeDatabase,
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
    """Rank a database for every query and measure the rankings.

    Deleted rows are left out of queries and database. If the queries are those of a split, and the
    database is a bank of all images of that split, as in a run on a folder, the queries' rows are
    left out of the database.

    Parameters
    ----------
    query
        Queries: a bank, a bank set or a `hashkit.codesets.CodeSet`; each must have a label.
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
        Leave the row that is the query itself out of the ranking of each query, and out of every
        count. The query's bank must be one of the databases: the same object, identity or file.
    progress
        Called as ``progress(done, total)``, counted in database rows over two passes.

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
    convention_named(convention)
    gain_named(ndcg_gain)
    if without_relevant not in get_args(WithoutRelevant):
        raise ConfigError(f"`without_relevant` must be zero or drop, not {without_relevant!r}")
    query, database = _joined(query, database)
    whole = query
    query, databases, n_database = _live(query, database)
    own_rows = find_own_rows(whole, databases) if exclude_self else None
    n_ranked = n_database - exclude_self
    if not n_ranked:
        raise EvaluationError(
            "`exclude_self=True` expects two rows or more, found one: nothing is left to rank"
        )
    labels = match_labels(query, databases)
    measures = Measures(
        convention,
        _cutoffs(cutoffs, convention, n_ranked),
        _ks(ks, n_ranked),
        ndcg_gain,
        _curve_ks(n_ranked),
    )
    codes = check_codes(query.codes, query.n_bits, "query codes")
    scores = score_queries(codes, query.n_bits, databases, labels, measures, progress, own_rows)
    n_relevant = scores.relevant_histogram.sum(axis=1)
    has_relevant = n_relevant > 0
    kept: NDArray[np.bool_] = np.ones(len(query), np.bool_)
    if without_relevant == "drop":
        kept = has_relevant
    if not kept.any():
        raise EvaluationError(
            "no query has a relevant database row, and queries without one are dropped: check "
            "that both sets number or name their classes in the same way"
        )
    groups = {name: rows[kept[rows]] for name, rows in labels.query_groups().items()}
    groups = {name: rows for name, rows in groups.items() if len(rows)}
    tasks: list[Callable[[], Any]] = [
        functools.partial(bit_statistics, databases),
        functools.partial(bootstrap_interval, scores.expected[kept]),
        *(functools.partial(bootstrap_interval, scores.expected[rows]) for rows in groups.values()),
    ]
    statistics, interval, *label_intervals = run_parallel(tasks)
    return Report(
        bits=query.n_bits,
        n_queries=len(query),
        n_database=n_database,
        n_without_relevant=int(np.count_nonzero(~has_relevant)),
        without_relevant=without_relevant,
        exclude_self=exclude_self,
        map_interval=interval,
        interval=dict(INTERVAL),
        convention=convention,
        ndcg_gain=ndcg_gain,
        per_label={name: float(scores.expected[rows].mean()) for name, rows in groups.items()},
        per_label_queries={name: len(rows) for name, rows in groups.items()},
        per_label_interval=dict(zip(groups, label_intervals, strict=True)),
        bit_statistics=statistics,
        average_precision=scores.expected,
        n_relevant=n_relevant,
        **_means(scores, kept, measures),
        **_by_distance(scores, kept),
    )


def expected_map(query: CodeDatabase, database: CodeDatabase | Sequence[CodeDatabase]) -> float:
    """The ``map`` of `evaluate` in one pass, for model selection in a training loop.

    Raises
    ------
    CodesError
        If queries and database have different numbers of bits.
    EvaluationError
        If labels are missing or cannot be matched, or either side is empty.
    """
    query, databases, _ = _live(*_joined(query, database))
    labels = match_labels(query, databases)
    codes = check_codes(query.codes, query.n_bits, "query codes")
    return float(average_precisions(codes, query.n_bits, databases, labels).mean())


def _joined(
    query: CodeDatabase, database: CodeDatabase | Sequence[CodeDatabase]
) -> tuple[CodeDatabase, CodeDatabase | Sequence[CodeDatabase]]:
    """Queries of a bank set as one database; one object for both if the set is both."""
    one = as_one(query)
    return one, one if database is query else database


def _live(
    query: CodeDatabase, database: CodeDatabase | Sequence[CodeDatabase]
) -> tuple[CodeDatabase, list[CodeDatabase], int]:
    """Live queries, the databases (checked to have as many bits), and their live rows."""
    databases = list(database) if isinstance(database, Sequence) else [database]
    check_database(query, "the queries")
    check_bits(databases, query.n_bits)
    databases = [without_queries(query, one) for one in databases]
    if query.deleted is not None:
        live = ~query.deleted
        labels = None if query.labels is None else query.labels[live]
        query = CodeSet(query.codes[live], query.n_bits, labels, class_names=query.class_names)
    n_database = sum(map(n_kept_rows, databases))
    if not len(query) or not n_database:
        raise EvaluationError(
            f"expected queries and database rows, found {len(query)} and {n_database}"
        )
    return query, databases, n_database


def _cutoffs(given: Sequence[int] | None, convention: str, n_ranked: int) -> tuple[int, ...]:
    if given is not None:
        return _positive("cutoffs", given)
    if convention == "caffe-dnnh":
        return _CAFFE_DNNH_CUTOFFS
    return tuple(cutoff for cutoff in DEFAULT_CUTOFFS if cutoff <= n_ranked)


def _ks(given: Sequence[int] | None, n_ranked: int) -> tuple[int, ...]:
    if given is not None:
        return _positive("ks", given)
    return tuple(k for k in DEFAULT_KS if k <= n_ranked)


def _positive(argument: str, values: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({whole_number(value, argument, 1, sys.maxsize) for value in values}))


def _curve_ks(n_ranked: int) -> tuple[int, ...]:
    """Ranks from 1 to the last, evenly spaced on a logarithmic scale."""
    n_steps = int(np.ceil(np.log10(n_ranked) * _CURVE_STEPS))
    ranks = np.rint(np.geomspace(1, n_ranked, n_steps + 1))
    return tuple(sorted({int(rank) for rank in ranks}))


def _means(scores: QueryScores, kept: NDArray[np.bool_], measures: Measures) -> dict[str, Any]:
    """The fields of `Report` that are means over the queries and depend on ranks."""

    def mean(values: NDArray[Any]) -> Any:
        return values[kept].mean(axis=0).tolist()

    curve = (measures.curve_ks, mean(scores.curve_precision), mean(scores.curve_recall))
    return {
        "map": mean(scores.expected),
        "map_best": mean(scores.best),
        "map_worst": mean(scores.worst),
        "map_index": mean(scores.row_order),
        "map_at": dict(zip(measures.cutoffs, mean(scores.at_cutoffs), strict=True)),
        "precision_at": dict(zip(measures.ks, mean(scores.precision_at), strict=True)),
        "recall_at": dict(zip(measures.ks, mean(scores.recall_at), strict=True)),
        "ndcg_at": dict(zip(measures.ks, mean(scores.ndcg_at), strict=True)),
        "rank_curve": [
            {"k": k, "precision": precision, "recall": recall}
            for k, precision, recall in zip(*curve, strict=True)
        ],
    }


def _by_distance(scores: QueryScores, kept: NDArray[np.bool_]) -> dict[str, Any]:
    """The fields of `Report` that depend on distances."""
    relevant, total = scores.relevant_histogram[kept], scores.total_histogram[kept]
    n_queries, n_distances = relevant.shape
    precision, recall, empty = np.zeros((3, n_distances))
    for start in range(0, n_queries, _BALL_QUERIES):
        some = slice(start, start + _BALL_QUERIES)
        ball_precision, ball_recall, is_empty = within_radius(relevant[some], total[some])
        precision += ball_precision.sum(axis=0)
        recall += ball_recall.sum(axis=0)
        empty += is_empty.sum(axis=0)
    curve = [
        {"radius": radius, "precision": values[0], "recall": values[1], "empty": values[2]}
        for radius, values in enumerate(
            (np.stack([precision, recall, empty]) / n_queries).T.tolist()
        )
    ]
    radius_2 = curve[min(2, n_distances - 1)]  # codes of one bit have no distance above 1
    n_relevant = relevant.sum(axis=0)
    return {
        "precision_radius_2": radius_2["precision"],
        "empty_radius_2": radius_2["empty"],
        "pr_curve": curve,
        "distances": {
            "relevant": n_relevant.tolist(),
            "other": (total.sum(axis=0) - n_relevant).tolist(),
        },
    }
