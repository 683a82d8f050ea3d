"""From codes and labels to a report: how well rankings by Hamming distance find what is relevant.

docs/metrics.md defines every number. ``map``, ``map_best``, ``map_worst`` and ``map_index`` always
rank the whole database and divide by all relevant rows; only ``map_at`` follows the convention
that was asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hashkit import metrics
from hashkit.codefiles import load_codes, load_labels
from hashkit.codes import check_codes
from hashkit.codesets import CodeDatabase, CodeSet
from hashkit.errors import CodesError, ConfigError, EvaluationError
from hashkit.hamming import split_histogram
from hashkit.index import Shards
from hashkit.relevance import match_labels
from hashkit.scoring import Measures, Progress, QueryScores, score_queries

__all__ = [
    "DEFAULT_CUTOFFS",
    "DEFAULT_KS",
    "Report",
    "WithoutRelevant",
    "evaluate",
    "expected_map",
    "open_codes",
]

WithoutRelevant: TypeAlias = Literal["zero", "drop"]

DEFAULT_CUTOFFS: Final = (1000, 5000)
"""The R of ``map_at`` where none are given; the convention caffe-dnnh has 10,000 instead."""

DEFAULT_KS: Final = (1, 5, 10, 50, 100, 500, 1000)
"""The k of ``precision_at`` and ``recall_at`` where none are given."""

_CAFFE_DNNH_CUTOFFS: Final = (10_000,)
_HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Report:
    """Numbers of one evaluation, means over queries; its fields are those of the JSON.

    Attributes
    ----------
    bits
        Bits of a code.
    n_queries, n_database
        Rows on either side.
    n_without_relevant
        Queries to which no database row is relevant.
    without_relevant
        ``zero``: they count as 0 in every mean; ``drop``: they count in none.
    map
        Mean average precision: whole ranking, mean over tie orders, over all relevant rows.
    map_best, map_worst, map_index
        The same with the relevant rows of each tie first, last, and with ties in row order.
    convention
        What ``map_at`` divides by; a name in `hashkit.metrics.CONVENTIONS`.
    map_at
        {R: mean average precision of the top R ranks}, mean over tie orders.
    precision_at, recall_at
        {k: value}, mean over tie orders.
    precision_radius_2, empty_radius_2
        Precision of the ball of radius 2 (0 where it is empty), and the share of empty ones.
    per_label
        {class: ``map`` over its queries}.
    pr_curve
        For each radius in bits: ``radius``, ``precision``, ``recall``, and ``empty``, the share
        of empty balls.
    """

    bits: int
    n_queries: int
    n_database: int
    n_without_relevant: int
    without_relevant: WithoutRelevant
    map: float
    map_best: float
    map_worst: float
    map_index: float
    convention: str
    map_at: dict[int, float]
    precision_at: dict[int, float]
    recall_at: dict[int, float]
    precision_radius_2: float
    empty_radius_2: float
    per_label: dict[str, float]
    pr_curve: list[dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values; the cut-offs become strings, as JSON's keys are."""
        fields = dataclasses.asdict(self)
        for name in ("map_at", "precision_at", "recall_at"):
            fields[name] = {str(cutoff): value for cutoff, value in fields[name].items()}
        return fields


def evaluate(
    query: CodeDatabase,
    database: CodeDatabase | Sequence[CodeDatabase],
    *,
    convention: str = "all-relevant",
    cutoffs: Sequence[int] | None = None,
    ks: Sequence[int] | None = None,
    without_relevant: WithoutRelevant = "zero",
    progress: Progress | None = None,
) -> Report:
    """Rank a database for every query and measure the rankings.

    Parameters
    ----------
    query
        Queries: a bank or a `hashkit.codesets.CodeSet`; each must have a label.
    database
        A bank or code set, or several.
    convention
        What ``map_at`` divides by; a name in `hashkit.metrics.CONVENTIONS`.
    cutoffs
        The R of ``map_at``; by default `DEFAULT_CUTOFFS` as far as the database reaches, and
        10,000 for the convention caffe-dnnh.
    ks
        The k of ``precision_at`` and ``recall_at``; by default `DEFAULT_KS`, as far as the
        database reaches.
    without_relevant
        What queries without relevant rows do: ``zero`` or ``drop``.
    progress
        Called as ``progress(done, total)``, counted in database rows; two passes are made.

    Raises
    ------
    CodesError
        If queries and database have different numbers of bits.
    ConfigError
        If the convention, a cut-off or ``without_relevant`` makes no sense.
    EvaluationError
        If labels are missing or cannot be matched, or no query is left to average over.
    """
    metrics.convention_named(convention)
    if without_relevant not in get_args(WithoutRelevant):
        raise ConfigError(f"without_relevant must be zero or drop, not {without_relevant!r}")
    shards, databases = _shards(query, database)
    labels = match_labels(query, databases)
    measures = Measures(
        convention, _cutoffs(cutoffs, convention, len(shards)), _ks(ks, len(shards))
    )
    codes = check_codes(query.codes, shards.n_bits, "query codes")
    scores = score_queries(codes, shards, labels.relevant_rows(), measures, progress)
    kept = scores.n_relevant > 0 if without_relevant == "drop" else np.ones(len(query), np.bool_)
    if not kept.any():
        raise EvaluationError(
            "no query has a relevant database row, and queries without are dropped: check that "
            "both sets number or name their classes alike"
        )
    return Report(
        bits=shards.n_bits,
        n_queries=len(query),
        n_database=len(shards),
        n_without_relevant=int(np.count_nonzero(scores.n_relevant == 0)),
        without_relevant=without_relevant,
        convention=convention,
        per_label=_per_label(scores, kept, labels.query_groups()),
        **_means(scores, kept, measures),
    )


def expected_map(query: CodeDatabase, database: CodeDatabase | Sequence[CodeDatabase]) -> float:
    """``map`` of `evaluate` alone, in one pass: what a training loop selects models by.

    Raises
    ------
    CodesError
        If queries and database have different numbers of bits.
    EvaluationError
        If labels are missing or cannot be matched, or either side is empty.
    """
    shards, databases = _shards(query, database)
    relevant = match_labels(query, databases).relevant_rows()
    codes = check_codes(query.codes, shards.n_bits, "query codes")
    hits, rows = split_histogram(codes, shards.blocks(), shards.n_bits, relevant)
    return float(metrics.average_precision(hits, rows).mean())


def open_codes(path: str | Path, labels_path: str | Path | None = None) -> CodeDatabase:
    """Open codes of any kind that evaluation takes.

    Parameters
    ----------
    path
        A code bank (HDF5), or what `hashkit.codefiles.load_codes` reads.
    labels_path
        Labels kept in a file of their own, one a line.

    Raises
    ------
    BankError
        If a bank cannot be opened.
    CodesError
        If the files cannot be read, or a labels file is given for codes that have labels.
    """
    path = Path(path)
    if not _is_hdf5(path):
        return load_codes(path, labels_path)
    from hashkit.bank import Bank  # here, since codes made elsewhere need no h5py

    bank: CodeDatabase = Bank.open(path)
    if labels_path is None:
        return bank
    if bank.labels is not None:
        raise CodesError(f"{path} has labels of its own: leave out {labels_path}")
    labels, class_names = load_labels(labels_path)
    return CodeSet(bank.codes, bank.n_bits, labels, bank.names, class_names)


def _is_hdf5(path: Path) -> bool:
    if path.suffix in (".h5", ".hdf5"):
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_HDF5_SIGNATURE)) == _HDF5_SIGNATURE


def _shards(
    query: CodeDatabase, database: CodeDatabase | Sequence[CodeDatabase]
) -> tuple[Shards, list[CodeDatabase]]:
    databases = list(database) if isinstance(database, Sequence) else [database]
    shards = Shards.of(databases, query.n_bits)
    if not len(query) or not len(shards):
        raise EvaluationError(
            f"expected queries and database rows, found {len(query)} and {len(shards)}"
        )
    return shards, databases


def _cutoffs(asked: Sequence[int] | None, convention: str, n_database: int) -> tuple[int, ...]:
    if asked is not None:
        return _positive("a cut-off", asked)
    if convention == "caffe-dnnh":
        return _CAFFE_DNNH_CUTOFFS
    return tuple(cutoff for cutoff in DEFAULT_CUTOFFS if cutoff <= n_database)


def _ks(asked: Sequence[int] | None, n_database: int) -> tuple[int, ...]:
    if asked is not None:
        return _positive("k", asked)
    return tuple(k for k in DEFAULT_KS if k <= n_database)


def _positive(what: str, values: Sequence[int]) -> tuple[int, ...]:
    for value in values:
        if value < 1:
            raise ConfigError(f"{what} must be at least 1, not {value}")
    return tuple(sorted({int(value) for value in values}))


def _means(scores: QueryScores, kept: NDArray[np.bool_], measures: Measures) -> dict[str, Any]:
    """The fields of `Report` that are means over the queries."""

    def mean(values: NDArray[Any]) -> Any:
        return values[kept].mean(axis=0).tolist()

    curve = {
        "precision": mean(scores.ball_precision),
        "recall": mean(scores.ball_recall),
        "empty": mean(scores.ball_is_empty),
    }
    n_radii = scores.ball_precision.shape[1]
    radius_2 = min(2, n_radii - 1)  # a code of one bit has no greater distance than 1
    return {
        "map": mean(scores.expected),
        "map_best": mean(scores.best),
        "map_worst": mean(scores.worst),
        "map_index": mean(scores.row_order),
        "map_at": dict(zip(measures.cutoffs, mean(scores.at_cutoffs), strict=True)),
        "precision_at": dict(zip(measures.ks, mean(scores.precision_at), strict=True)),
        "recall_at": dict(zip(measures.ks, mean(scores.recall_at), strict=True)),
        "precision_radius_2": curve["precision"][radius_2],
        "empty_radius_2": curve["empty"][radius_2],
        "pr_curve": [
            {"radius": radius, **{name: values[radius] for name, values in curve.items()}}
            for radius in range(n_radii)
        ],
    }


def _per_label(
    scores: QueryScores, kept: NDArray[np.bool_], groups: dict[str, NDArray[np.int64]]
) -> dict[str, float]:
    kept_groups = {name: rows[kept[rows]] for name, rows in groups.items()}
    return {
        name: float(scores.expected[rows].mean()) for name, rows in kept_groups.items() if len(rows)
    }
