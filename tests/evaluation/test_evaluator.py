from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import oracles
import pytest
from codes_samples import code_set
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, ConfigError, EvaluationError
from hashkit.evaluation import scoring
from hashkit.evaluation.average_precision import CONVENTIONS
from hashkit.evaluation.evaluator import evaluate, expected_map
from hashkit.evaluation.intervals import bootstrap_interval
from hashkit.evaluation.ndcg import GAINS, ndcg_at


def relevance_in_rank_order(query: CodeSet, database: CodeSet) -> list[list[tuple[int, bool]]]:
    """(distance, relevant) in each query's ranking by (distance, row), from the oracle."""
    assert query.labels is not None
    assert database.labels is not None
    codes = [oracles.bit_string(code, database.n_bits) for code in database.codes]
    rankings = []
    for code, label in zip(query.codes, query.labels, strict=True):
        ranking = oracles.ranking(oracles.bit_string(code, query.n_bits), codes)
        rankings.append([(d, bool(database.labels[row] == label)) for d, row in ranking])
    return rankings


def tie_groups(ranking: list[tuple[int, bool]], n_bits: int) -> list[tuple[int, int]]:
    at = [[relevant for d, relevant in ranking if d == distance] for distance in range(n_bits + 1)]
    return [(sum(group), len(group)) for group in at]


def mean(values: list[Any]) -> float:
    return float(sum(values) / len(values))


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(CONVENTIONS)), st.integers(1, 16))
def test_every_number_matches_the_oracle(seed: int, convention: str, cutoff: int) -> None:
    query, database = code_set(seed, 3), code_set(seed + 1, 14)
    report = evaluate(query, database, convention=convention, cutoffs=[cutoff], ks=[2, 9])
    rankings = relevance_in_rank_order(query, database)
    groups = [tie_groups(ranking, 5) for ranking in rankings]

    def over_ties(metric: oracles.Metric, at: int) -> float:
        return mean([oracles.mean_over_ties(metric, one, at) for one in groups])

    extremes = [oracles.extremes_over_ties(oracles.ap_all_relevant, one, 14) for one in groups]
    by_row = [[relevant for _, relevant in ranking] for ranking in rankings]
    assert report.map == pytest.approx(over_ties(oracles.ap_all_relevant, 14))
    assert report.map_worst == pytest.approx(mean([low for low, _ in extremes]))
    assert report.map_best == pytest.approx(mean([high for _, high in extremes]))
    assert report.map_index == pytest.approx(
        mean([oracles.ap_all_relevant(one, 14) for one in by_row])
    )
    assert report.map_at == pytest.approx({cutoff: over_ties(oracles.AP[convention], cutoff)})
    for k in (2, 9):
        assert report.precision_at[k] == pytest.approx(over_ties(oracles.precision_at, k))
        assert report.recall_at[k] == pytest.approx(over_ties(oracles.recall_at, k))
    for point in report.rank_curve[::4]:
        k = int(point["k"])
        assert point["precision"] == pytest.approx(over_ties(oracles.precision_at, k))
        assert point["recall"] == pytest.approx(over_ties(oracles.recall_at, k))
    each = [oracles.mean_over_ties(oracles.ap_all_relevant, one, 14) for one in groups]
    assert report.average_precision.tolist() == pytest.approx([float(value) for value in each])
    for distance in range(6):
        relevant, rows = (sum(one[distance][i] for one in groups) for i in (0, 1))
        assert report.distances["relevant"][distance] == relevant
        assert report.distances["other"][distance] == rows - relevant
    balls = [[relevant for d, relevant in ranking if d <= 2] for ranking in rankings]
    assert report.precision_radius_2 == pytest.approx(
        mean([sum(ball) / len(ball) if ball else 0.0 for ball in balls])
    )
    assert report.empty_radius_2 == pytest.approx(mean([not ball for ball in balls]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_results_do_not_depend_on_how_the_database_is_split(seed: int, block_rows: int) -> None:
    query, database = code_set(seed, 4), code_set(seed + 1, 50)
    rankings = relevance_in_rank_order(query, database)
    expected = mean(
        [oracles.ap_all_relevant([relevant for _, relevant in one], 50) for one in rankings]
    )
    parts = [
        CodeSet(database.codes[a : a + block_rows], 5, database.labels[a : a + block_rows])  # type: ignore[index]
        for a in range(0, 50, block_rows)
    ]
    whole, split = evaluate(query, database), evaluate(query, parts)
    assert whole.map_index == pytest.approx(expected)
    assert split.map_index == pytest.approx(expected)
    assert split.map == whole.map
    assert split.pr_curve == whole.pr_curve


def test_query_blocks_do_not_change_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    query, database = code_set(0, 23), code_set(1, 60)
    whole = evaluate(query, database)
    calls: list[tuple[int, int]] = []
    for name, value in (("_QUERY_BLOCK", 5), ("_HISTOGRAM_BYTES", 800), ("_CHUNK_CELLS", 30)):
        monkeypatch.setattr(scoring, name, value)
        split = evaluate(query, database, progress=lambda *call: calls.append(call))
        assert split.to_dict() == whole.to_dict()
        assert calls[-1] == (120, 120)


def test_shuffling_the_database_changes_only_map_index() -> None:
    query, database = code_set(0, 20), code_set(1, 200)
    assert database.labels is not None
    by_class = np.argsort(database.labels, kind="stable")
    shuffled = CodeSet(database.codes[by_class], 5, database.labels[by_class])
    first, second = evaluate(query, database).to_dict(), evaluate(query, shuffled).to_dict()
    assert first.pop("map_index") != second.pop("map_index")
    assert first == second


def test_numbers_of_a_report_are_consistent() -> None:
    report = evaluate(code_set(0, 30), code_set(1, 300))
    assert report.map_worst < report.map < report.map_best
    assert report.map_worst < report.map_index < report.map_best
    recalls = [point["recall"] for point in report.pr_curve]
    assert recalls == sorted(recalls)
    assert recalls[-1] == pytest.approx(1)
    assert report.pr_curve[2]["precision"] == report.precision_radius_2
    assert report.pr_curve[2]["empty"] == report.empty_radius_2
    assert [point["radius"] for point in report.pr_curve] == list(range(6))


def test_perfect_codes_and_constant_codes() -> None:
    labels = np.repeat(np.arange(4), 10)
    codes = pack(np.eye(4, dtype=np.uint8)[labels])
    perfect = evaluate(CodeSet(codes, 4, labels), CodeSet(codes, 4, labels))
    for value in (perfect.map, perfect.map_worst, perfect.map_best, perfect.map_index):
        assert value == pytest.approx(1)
    constant = evaluate(CodeSet(codes * 0, 4, labels), CodeSet(codes * 0, 4, labels))
    assert constant.precision_at[5] == pytest.approx(1 / 4)
    # One tie of 40 rows, 10 of them relevant, summed with the paper's formula.
    ranks = np.arange(1, 41)
    expected = (10 / 40 * (1 + (ranks - 1) * 9 / 39) / ranks).sum() / 10
    assert constant.map == pytest.approx(expected)


def test_to_dict_is_json_with_all_fields() -> None:
    fields = evaluate(code_set(0, 5), code_set(1, 120)).to_dict()
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert set(fields) >= {
        "bits", "n_queries", "n_database", "map", "map_best", "map_worst", "map_index", "map_at",
        "convention", "precision_at", "recall_at", "precision_radius_2", "empty_radius_2",
        "per_label", "pr_curve", "n_without_relevant", "without_relevant", "map_interval",
        "interval", "ndcg_at", "ndcg_gain", "per_label_queries", "per_label_interval", "rank_curve",
        "distances", "bit_statistics",
    }  # fmt: skip
    assert "average_precision" not in fields
    assert fields["bit_statistics"]["n_rows"] == 120
    assert (fields["bits"], fields["n_queries"], fields["n_database"]) == (5, 5, 120)
    assert list(fields["precision_at"]) == ["1", "5", "10", "50", "100"]
    assert fields["map_at"] == {}


def test_default_cutoffs_follow_the_convention_and_the_database() -> None:
    query, database = code_set(0, 2), code_set(1, 1000)
    assert list(evaluate(query, database).map_at) == [1000]
    assert list(evaluate(query, database, convention="caffe-dnnh").map_at) == [10_000]


def test_per_label_averages_the_queries_of_each_class() -> None:
    query, database = code_set(0, 30), code_set(1, 90)
    assert query.labels is not None
    report = evaluate(query, database)
    sizes = {str(label): int(np.sum(query.labels == label)) for label in range(3)}
    assert set(report.per_label) == set(sizes)
    weighted = sum(report.per_label[label] * n for label, n in sizes.items()) / 30
    assert weighted == pytest.approx(report.map)
    only = CodeSet(query.codes[query.labels == 2], 5, query.labels[query.labels == 2])
    assert report.per_label["2"] == pytest.approx(evaluate(only, database).map)


def test_intervals_match_the_bootstrap_of_the_queries() -> None:
    query, database = code_set(0, 30), code_set(1, 90)
    assert query.labels is not None
    report = evaluate(query, database)
    assert report.map_interval == bootstrap_interval(report.average_precision)
    assert report.map_interval is not None
    assert report.map_interval[0] < report.map < report.map_interval[1]
    assert report.interval["resamples"] == 2000
    for label in range(3):
        rows = query.labels == label
        assert report.per_label_queries[str(label)] == rows.sum()
        expected = bootstrap_interval(report.average_precision[rows])
        assert report.per_label_interval[str(label)] == expected
    one = CodeSet(query.codes[:1], 5, query.labels[:1])
    assert evaluate(one, database).map_interval is None


def test_ndcg_grades_by_shared_labels_and_reports_its_gain() -> None:
    rng = np.random.default_rng(0)
    query = dataclasses.replace(code_set(0, 4), labels=rng.integers(0, 2, (4, 5)) | [1, 0, 0, 0, 0])
    labels = rng.integers(0, 2, (30, 5))
    database = dataclasses.replace(code_set(1, 30), labels=labels)
    assert query.labels is not None
    grades = query.labels @ labels.T
    assert grades.max() > 2
    distances = (unpack(query.codes, 5)[:, None] != unpack(database.codes, 5)).sum(axis=2)
    rows = np.zeros((4, int(query.labels.sum(axis=1).max()) + 1, 6), np.int64)
    np.add.at(rows, (np.arange(4)[:, None], grades, distances), 1)
    for gain in GAINS:
        report = evaluate(query, database, ks=[3, 10], ndcg_gain=gain)
        assert report.ndcg_gain == gain
        expected = ndcg_at(rows, [3, 10], gain).mean(axis=0)
        assert list(report.ndcg_at.values()) == pytest.approx(expected.tolist())
    assert evaluate(query, database).ndcg_gain == "exponential"


@pytest.mark.parametrize("n_queries", [12, 70])
def test_deleted_rows_are_left_out_of_queries_and_database(n_queries: int) -> None:
    rng = np.random.default_rng(0)
    query, database = code_set(0, n_queries), code_set(1, 300)
    query_deleted, deleted = rng.random(n_queries) < 0.3, rng.random(300) < 0.3
    assert query.labels is not None
    assert database.labels is not None
    live_query = CodeSet(query.codes[~query_deleted], 5, query.labels[~query_deleted])
    live = CodeSet(database.codes[~deleted], 5, database.labels[~deleted])
    expected = evaluate(live_query, live)
    marked_query = dataclasses.replace(query, deleted=query_deleted)
    marked = dataclasses.replace(database, deleted=deleted)
    report = evaluate(marked_query, marked)
    assert report.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(report.average_precision, expected.average_precision)
    assert (report.n_queries, report.n_database) == ((~query_deleted).sum(), (~deleted).sum())
    assert expected_map(marked_query, marked) == pytest.approx(report.map, abs=1e-15)
    with pytest.raises(EvaluationError, match=f"found {n_queries} and 0"):
        evaluate(query, dataclasses.replace(database, deleted=np.ones(300, np.bool_)))


def test_rank_curve_covers_the_first_to_the_last_rank() -> None:
    report = evaluate(code_set(0, 5), code_set(1, 1234))
    ks = [point["k"] for point in report.rank_curve]
    assert (ks[0], ks[-1]) == (1, 1234)
    assert ks == sorted(set(ks))
    assert 20 <= len(ks) <= 35
    assert report.rank_curve[-1]["recall"] == pytest.approx(1)
    by_k = {point["k"]: point for point in report.rank_curve}
    assert by_k[10]["precision"] == pytest.approx(report.precision_at[10])
    assert len(evaluate(code_set(0, 5), code_set(1, 1)).rank_curve) == 1


def test_queries_without_relevant_rows_count_as_0_or_are_left_out() -> None:
    query, database = code_set(0, 10, n_classes=2), code_set(1, 50, n_classes=2)
    assert query.labels is not None
    some_without = CodeSet(query.codes, 5, np.where(np.arange(10) < 4, 7, query.labels))
    rest = CodeSet(query.codes[4:], 5, query.labels[4:])
    expected = evaluate(rest, database)
    dropped = evaluate(some_without, database, without_relevant="drop")
    zero = evaluate(some_without, database)
    assert (zero.n_without_relevant, dropped.n_without_relevant) == (4, 4)
    assert dropped.map == pytest.approx(expected.map)
    assert dropped.precision_at == pytest.approx(expected.precision_at)
    assert dropped.per_label == pytest.approx(expected.per_label)
    assert zero.map == pytest.approx(expected.map * 6 / 10)
    assert zero.map_index == pytest.approx(expected.map_index * 6 / 10)
    assert zero.per_label["7"] == 0
    assert dropped.ndcg_at == pytest.approx(expected.ndcg_at)
    assert dropped.distances == expected.distances
    assert dropped.rank_curve[3] == pytest.approx(expected.rank_curve[3])
    assert dropped.pr_curve[3] == pytest.approx(expected.pr_curve[3])
    assert dropped.map_interval == pytest.approx(expected.map_interval)
    assert zero.ndcg_at[10] == pytest.approx(expected.ndcg_at[10] * 6 / 10)
    assert dropped.average_precision[:4].tolist() == [0, 0, 0, 0]
    all_without = CodeSet(query.codes, 5, np.full(10, 7))
    assert evaluate(all_without, database).map == 0
    with pytest.raises(EvaluationError, match="no query has a relevant"):
        evaluate(all_without, database, without_relevant="drop")


def test_caffe_dnnh_on_a_ranking_computed_by_hand() -> None:
    # 40 rows, ten at each distance 0 to 3; relevant ranks 1..10 and 31..40; the divisor is 4.
    bits = np.repeat([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]], 10, axis=0)
    labels = np.repeat([1, 0, 0, 1], 10)
    query = CodeSet(pack(np.zeros((1, 3), np.uint8)), 3, np.array([1]))
    report = evaluate(query, CodeSet(pack(bits), 3, labels), convention="caffe-dnnh")
    tail = sum((10 + i) / (30 + i) for i in range(1, 11))
    assert report.map_at[10_000] == pytest.approx((10 + tail) / 4)
    top = evaluate(query, CodeSet(pack(bits), 3, labels), convention="caffe-dnnh", cutoffs=[3])
    assert top.map_at[3] == pytest.approx(1.0)


def test_expected_map_equals_map_of_the_report() -> None:
    query, database = code_set(0, 12), code_set(1, 70)
    assert expected_map(query, database) == pytest.approx(evaluate(query, database).map, abs=1e-15)


def test_inputs_are_not_modified() -> None:
    query, database = code_set(0, 12), code_set(1, 70)
    before = [array.copy() for one in (query, database) for array in (one.codes, one.labels)]  # type: ignore[union-attr]
    evaluate(query, database)
    after = [array for one in (query, database) for array in (one.codes, one.labels)]
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, now)


def test_progress_counts_up_to_the_total() -> None:
    calls: list[tuple[int, int]] = []
    evaluate(code_set(0, 3), code_set(1, 70), progress=lambda *call: calls.append(call))
    assert calls == [(70, 140), (140, 140)]


@looped(
    ("changes", "message"),
    [
        ({"convention": "best"}, "known: all-relevant, min, hits, caffe-dnnh"),
        ({"without_relevant": "skip"}, "zero or drop"),
        ({"ndcg_gain": "log"}, "known: exponential, linear"),
        ({"cutoffs": [0]}, "`cutoffs` must be between 1 and"),
        ({"ks": [5, -1]}, "`ks` must be between 1 and"),
    ],
)
def test_invalid_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(code_set(0, 3), code_set(1, 9), **changes)


def test_sets_that_do_not_match_are_refused() -> None:
    query, database = code_set(0, 3), code_set(1, 9)
    with pytest.raises(CodesError, match="expected a database of 5 bits, found 6"):
        evaluate(query, code_set(1, 9, n_bits=6))
    with pytest.raises(EvaluationError, match="found 0 and 9"):
        evaluate(code_set(0, 0), database)
    with pytest.raises(EvaluationError, match="found 3 and 0"):
        evaluate(query, code_set(0, 0))
    with pytest.raises(EvaluationError, match="labels for the database, found none"):
        evaluate(query, dataclasses.replace(database, labels=None))


def test_a_query_with_one_relevant_row_is_not_dropped() -> None:
    codes = pack(np.array([[0, 0], [0, 1], [1, 1]]))
    query = CodeSet(codes[[0, 0]], 2, np.array([1, 5]))
    report = evaluate(
        query, CodeSet(codes, 2, np.array([0, 1, 0])), without_relevant="drop", ks=[2]
    )
    assert report.n_without_relevant == 1
    assert report.map == pytest.approx(0.5)
    assert report.precision_at == pytest.approx({2: 0.5})
    assert report.recall_at == pytest.approx({2: 1.0})
    assert report.per_label == pytest.approx({"1": 0.5})


def labels_of(query: NDArray[Any], database: NDArray[Any]) -> tuple[CodeSet, CodeSet]:
    codes = pack(np.random.default_rng(0).integers(0, 2, (len(query) + len(database), 4)))
    return CodeSet(codes[: len(query)], 4, query), CodeSet(codes[len(query) :], 4, database)


def test_one_hot_labels_equal_label_numbers() -> None:
    rng = np.random.default_rng(3)
    query, database = rng.integers(0, 4, 12), rng.integers(0, 4, 40)
    one_hot = np.eye(4, dtype=np.uint8)
    reports = [
        evaluate(*labels_of(a, b)).to_dict()
        for a in (query, one_hot[query])
        for b in (database, one_hot[database])
    ]
    assert all(report == reports[0] for report in reports)
