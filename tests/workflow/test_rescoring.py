"""Evaluation of rankings whose nearest rows are ordered by the queries' logits."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import oracles
import pytest
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.evaluation.average_precision import CONVENTIONS
from hashkit.evaluation.evaluator import evaluate
from hashkit.evaluation.report import CutoffMetrics
from hashkit.report.numbers import number_rows
from hashkit.retrieval.search import search
from hashkit.workflow import rescoring
from hashkit.workflow.rescoring import rescored

N_BITS, N_ROWS, KS = 10, 45, [1, 4, 60]


def made(
    seed: int, n_rows: int = N_ROWS, *, multi_hot: bool = False
) -> tuple[CodeSet, NDArray[np.float32]]:
    """Codes with labels, and the whole numbers that are their logits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n_rows)
    if multi_hot:
        labels = (rng.random((n_rows, 4)) < 0.3).astype(np.uint8)
        labels[np.arange(n_rows), np.arange(n_rows) % 4] = 1
    logits = rng.integers(-3, 4, (n_rows, N_BITS)).astype(np.float32)
    return CodeSet(pack(logits > 0), N_BITS, labels), logits


def is_relevant(one: Any, other: Any) -> bool:
    return bool(np.any(one & other)) if np.ndim(one) else bool(one == other)


def oracle(
    queries: CodeSet,
    logits: NDArray[np.float32],
    database: CodeSet,
    convention: str,
    oversample: int,
    left_out: list[int | None],
) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    """Metrics after and before rescoring; ``left_out`` is the row that each query leaves out."""
    cutoffs = {"map_at": [2, 7], "precision_at": KS, "recall_at": KS}
    metrics = {
        "map_at": oracles.AP[convention],
        "precision_at": oracles.precision_at,
        "recall_at": oracles.recall_at,
    }
    values: dict[tuple[bool, str, int], list[float]] = {}
    for query, own in enumerate(logits.tolist()):
        rows = [row for row in range(len(database)) if row != left_out[query]]
        texts = [oracles.bit_string(database.codes[row], N_BITS) for row in rows]
        label = queries.labels[query]  # type: ignore[index]
        relevant = [is_relevant(label, database.labels[row]) for row in rows]  # type: ignore[index]
        code = oracles.bit_string(queries.codes[query], N_BITS)
        by_distance = [row for _, row in oracles.ranking(code, texts)]
        for name, metric in metrics.items():
            for cutoff in cutoffs[name]:
                first = [r for *_, r in oracles.rescored_ranking(own, texts, cutoff, oversample)]
                rest = [row for row in by_distance if row not in first]
                for is_rescored, order in ((True, first + rest), (False, by_distance)):
                    value = float(metric([relevant[row] for row in order], cutoff))
                    values.setdefault((is_rescored, name, cutoff), []).append(value)
    after, before = (
        {
            name: {c: float(np.mean(values[is_rescored, name, c])) for c in cutoffs[name]}
            for name in metrics
        }
        for is_rescored in (True, False)
    )
    return after, before


def check(found: CutoffMetrics, expected: dict[str, dict[int, float]]) -> None:
    for name, values in expected.items():
        assert getattr(found, name) == pytest.approx(values), name


@looped("convention", list(CONVENTIONS))
@looped(("oversample", "multi_hot"), [(1, False), (3, True), (sys.maxsize, False)])
def test_metrics_are_those_of_the_rankings_that_search_returns(
    convention: str, oversample: int, multi_hot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescoring, "_ENTRIES", 100)  # a few queries at a time
    database, _ = made(0, multi_hot=multi_hot)
    queries, logits = made(1, 6, multi_hot=multi_hot)
    report = evaluate(queries, database, convention=convention, cutoffs=[2, 7], ks=KS)
    done: list[int] = []
    found = rescored(queries, [database], logits, report, oversample, done.append)
    after, before = oracle(queries, logits, database, convention, oversample, [None] * 6)
    check(found, after)
    check(found.hamming, before)
    assert (found.oversample, done[-1]) == (oversample, 6)


def test_precision_is_that_of_a_search_for_k_rows() -> None:
    (database, _), (queries, logits) = made(0), made(1, 6)
    assert database.labels is not None
    assert queries.labels is not None
    report = evaluate(queries, database, ks=[4], cutoffs=[])
    found = rescored(queries, [database], logits, report, 3)
    rows = search(queries.codes, database, top_k=4, logits=logits, oversample=3).rows
    is_hit = database.labels[rows] == queries.labels[:, None]
    assert found.precision_at[4] == pytest.approx(is_hit.mean())
    assert found.map_at == {}


@pytest.mark.parametrize("multi_hot", [False, True])
def test_the_own_row_is_left_out(multi_hot: bool) -> None:
    one, logits = made(2, multi_hot=multi_hot)
    other, _ = made(3, 8, multi_hot=multi_hot)
    assert one.labels is not None
    assert other.labels is not None
    report = evaluate(one, [other, one], cutoffs=[2, 7], ks=KS, exclude_self=True)
    found = rescored(one, [other, one], logits, report, 2)
    both = CodeSet(
        np.concatenate([other.codes, one.codes]), N_BITS, np.concatenate([other.labels, one.labels])
    )
    own = [8 + row for row in range(N_ROWS)]
    after, before = oracle(one, logits, both, "all-relevant", 2, own)  # type: ignore[arg-type]
    check(found, after)
    check(found.hamming, before)


def test_deleted_queries_and_those_without_relevant_rows() -> None:
    (database, _), (queries, logits) = made(0), made(1, 9)
    assert queries.labels is not None
    queries.labels[[2, 5]] = 7
    deleted = np.arange(9) < 2
    marked = dataclasses.replace(queries, deleted=deleted)
    settings: dict[str, Any] = {"cutoffs": [2, 7], "ks": KS}
    report = evaluate(marked, database, without_relevant="drop", **settings)
    found = rescored(marked, [database], logits[2:], report, 2)
    kept = [3, 4, 6, 7, 8]
    some = CodeSet(queries.codes[kept], N_BITS, queries.labels[kept])
    after, _ = oracle(some, logits[kept], database, "all-relevant", 2, [None] * 5)
    check(found, after)


def test_the_report_has_the_metrics_beside_its_own() -> None:
    (database, _), (queries, logits) = made(0), made(1, 6)
    report = evaluate(queries, database, cutoffs=[7], ks=[4])
    assert "rescored" not in report.to_dict()
    found = rescored(queries, [database], logits, report, 2)
    fields = dataclasses.replace(report, rescored=found).to_dict()
    assert fields["rescored"] == {
        "oversample": 2,
        "map_at": {"7": found.map_at[7]},
        "precision_at": {"4": found.precision_at[4]},
        "recall_at": {"4": found.recall_at[4]},
        "hamming": {
            "map_at": {"7": found.hamming.map_at[7]},
            "precision_at": {"4": found.hamming.precision_at[4]},
            "recall_at": {"4": found.hamming.recall_at[4]},
        },
    }
    rows = {row.label: row.values for row in number_rows([fields, report.to_dict()])}
    shown = rows["mAP@7 (all-relevant), 2 x k by logits"]
    assert shown == (f"{found.map_at[7]:.4f}", "—")
    assert rows["recall@4, by distance and row"][0] == f"{found.hamming.recall_at[4]:.4f}"


@looped("value", [0, -1, 1.5, 2**63])
def test_other_values_of_oversample_are_refused(value: Any) -> None:
    (database, _), (queries, logits) = made(0), made(1, 6)
    report = evaluate(queries, database)
    with pytest.raises(ConfigError, match="`oversample` must be"):
        rescored(queries, [database], logits, report, value)
