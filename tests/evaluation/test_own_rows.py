"""A collection evaluated against itself: every number without the query's own row."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_samples import make_header
from looped import looped

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import EvaluationError
from hashkit.evaluation import passes, scoring
from hashkit.evaluation.average_precision import CONVENTIONS
from hashkit.evaluation.evaluator import Report, evaluate
from hashkit.evaluation.intervals import bootstrap_interval
from hashkit.evaluation.own_rows import find_own_rows
from hashkit.evaluation.relevance import match_labels


def collection(
    n_rows: int, *, multi_hot: bool = False, seed: int = 0, n_bits: int = 6, deleted: Any = None
) -> CodeSet:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n_rows)
    if multi_hot:
        labels = (rng.random((n_rows, 5)) < 0.3).astype(np.uint8)
        labels[np.arange(n_rows), np.arange(n_rows) % 5] = 1
    bits = rng.integers(0, 2, (n_rows, n_bits))
    bits[: n_rows // 3] = bits[0]  # many rows at distance 0, before and behind the own one
    return CodeSet(pack(bits), n_bits, labels, deleted=deleted)


def rows_of(one: CodeSet, rows: Any) -> CodeSet:
    assert one.labels is not None
    return CodeSet(one.codes[rows], one.n_bits, one.labels[rows])


def alone(one: CodeSet, others: list[CodeSet], **settings: Any) -> list[Report]:
    """Each query evaluated alone, in databases that lack it: the definition."""
    deleted = np.zeros(len(one), np.bool_) if one.deleted is None else one.deleted
    reports = []
    for row in np.flatnonzero(~deleted):
        rest = rows_of(one, np.flatnonzero(~deleted & (np.arange(len(one)) != row)))
        reports.append(evaluate(rows_of(one, [row]), [rest, *others], **settings))
    return reports


def check(found: Report, expected: list[Report], without: str = "zero") -> None:
    """Compare every number with the reports of single queries."""
    kept = [one for one in expected if without == "zero" or one.n_without_relevant == 0]

    def mean(value: Any) -> Any:
        return np.mean([value(one) for one in kept], axis=0)

    for name in (
        "map", "map_best", "map_worst", "map_index", "precision_radius_2", "empty_radius_2",
    ):  # fmt: skip
        value = mean(lambda one, name=name: getattr(one, name))
        assert getattr(found, name) == pytest.approx(value), name
    for name in ("map_at", "precision_at", "recall_at", "ndcg_at"):
        values = mean(lambda one, name=name: list(getattr(one, name).values()))
        assert list(getattr(found, name).values()) == pytest.approx(values), name
        assert list(getattr(found, name)) == list(getattr(expected[0], name))
    for name in ("pr_curve", "rank_curve"):
        points = mean(lambda one, name=name: [list(p.values()) for p in getattr(one, name)])
        own = [list(point.values()) for point in getattr(found, name)]
        np.testing.assert_allclose(own, points, rtol=1e-12, atol=1e-15)
    for name in ("relevant", "other"):
        totals = np.sum([one.distances[name] for one in kept], axis=0)
        assert found.distances[name] == totals.tolist()
    average_precision = [one.average_precision[0] for one in expected]
    np.testing.assert_allclose(found.average_precision, average_precision, rtol=1e-12)
    assert found.n_relevant.tolist() == [one.n_relevant[0] for one in expected]
    assert found.n_without_relevant == sum(one.n_without_relevant for one in expected)
    counted = found.average_precision[found.n_relevant >= (without == "drop")]
    assert found.map_interval == bootstrap_interval(counted)


GOLDEN = Path(__file__).parent.parent / "golden"


def settings_of(n_rows: int) -> dict[str, Any]:
    return {"cutoffs": [3, n_rows - 1, n_rows + 5], "ks": [1, 4, n_rows - 1, n_rows]}


@looped("convention", list(CONVENTIONS))
@looped("multi_hot", [False, True])
def test_every_number_is_without_the_own_row(convention: str, multi_hot: bool) -> None:
    one = collection(14, multi_hot=multi_hot)
    chosen = {"convention": convention, **settings_of(14)}
    found = evaluate(one, one, exclude_self=True, **chosen)
    check(found, alone(one, [], **chosen))
    assert (found.exclude_self, found.n_queries, found.n_database) == (True, 14, 14)
    assert sum(sum(pairs) for pairs in found.distances.values()) == 14 * 13
    assert not evaluate(one, one).exclude_self


@pytest.mark.parametrize("multi_hot", [False, True])
def test_segments_databases_deletions_and_blocks(
    monkeypatch: pytest.MonkeyPatch, multi_hot: bool
) -> None:
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 7)
    monkeypatch.setattr(passes, "_CHUNK_QUERIES", 5)
    monkeypatch.setattr(passes, "available_cpus", lambda: 3)
    monkeypatch.setattr(scoring, "_QUERY_BLOCK", 17)
    deleted = np.random.default_rng(2).random(40) < 0.3
    deleted[21:28] = True  # a whole segment
    one = collection(40, multi_hot=multi_hot, deleted=deleted)
    other = collection(15, multi_hot=multi_hot, seed=3)
    chosen = settings_of(np.count_nonzero(~deleted) + 15)
    found = evaluate(one, [other, one], exclude_self=True, **chosen)
    expected = alone(one, [other], **chosen)
    # The database order decides ties in row order alone.
    by_row = [
        evaluate(
            rows_of(one, [row]),
            [other, rows_of(one, np.flatnonzero(~deleted & (np.arange(40) != row)))],
        ).map_index
        for row in np.flatnonzero(~deleted)
    ]
    assert found.map_index == pytest.approx(np.mean(by_row))
    check(dataclasses.replace(found, map_index=np.mean([e.map_index for e in expected])), expected)


def test_more_rows_than_a_block_of_the_kernel() -> None:
    one = collection(4500, n_bits=3)
    assert one.labels is not None
    queries = [0, 1, 1499, 1500, 2047, 2048, 4499]
    sums = []
    for row in queries:
        distances = np.unpackbits(one.codes ^ one.codes[row], axis=1).sum(axis=1)
        order = np.lexsort((np.arange(4500), distances))
        ranks = np.flatnonzero(one.labels[order[order != row]] == one.labels[row]) + 1
        sums.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    made = passes.Passes(one.codes, 3, [one], match_labels(one, [one]), find_own_rows(one, [one]))
    everything = slice(0, 4500)
    counted = made.histograms(everything, lambda _: None)
    order_sums = made.row_order_sums(everything, counted, lambda _: None)
    n_relevant = counted[:, 1:].sum(axis=(1, 2))
    np.testing.assert_allclose((order_sums / n_relevant)[queries], sums, rtol=1e-12)


def test_a_class_of_one_image_has_no_relevant_row() -> None:
    one = collection(20)
    assert one.labels is not None
    one.labels[7] = 9
    zero = evaluate(one, one, exclude_self=True)
    assert (zero.n_without_relevant, zero.per_label["9"], zero.average_precision[7]) == (1, 0, 0)
    drop = evaluate(one, one, exclude_self=True, without_relevant="drop")
    check(drop, alone(one, []), "drop")
    assert "9" not in drop.per_label
    assert evaluate(one, one).n_without_relevant == 0


def test_banks_are_one_by_identity_or_file(tmp_path: Path) -> None:
    path, made = tmp_path / "a.h5", collection(30)
    header = make_header(6, manifest=None, class_names=("a", "b", "c", "d"))
    with BankWriter.create(path, header, n_rows=30, n_name_bytes=300) as writer:
        writer.write(made.codes, list(map(str, range(30))), made.labels, n_consumed=30)
        writer.complete()
    bank, again = Bank.open(path), Bank.open(path)
    expected = evaluate(bank, bank, exclude_self=True)
    shutil.copyfile(path, tmp_path / "copy.h5")
    for other in (again, Bank.open(tmp_path / "copy.h5")):
        assert evaluate(bank, other, exclude_self=True).to_dict() == expected.to_dict()
    delete_rows(path, [4])
    with pytest.raises(EvaluationError, match=r"expects the same rows .*: open the bank again"):
        evaluate(bank, Bank.open(path), exclude_self=True)
    for_both = Bank.open(path)
    assert evaluate(for_both, for_both, exclude_self=True).n_queries == 29


@pytest.mark.parametrize("name", ["bank-v1.h5", "bank-v2.h5"])
def test_older_banks_are_one_by_their_file(name: str, tmp_path: Path) -> None:
    path = shutil.copyfile(GOLDEN / name, tmp_path / "bank.h5")
    copy = shutil.copyfile(GOLDEN / name, tmp_path / "copy.h5")
    bank = Bank.open(path)
    own = find_own_rows(bank, [Bank.open(copy), Bank.open(path)])
    deleted = np.zeros(len(bank), np.bool_) if bank.deleted is None else bank.deleted
    assert (own.database, own.rows.tolist()) == (1, np.flatnonzero(~deleted).tolist())
    with pytest.raises(EvaluationError, match=r"bank\.h5 .* is not among them, found .*copy\.h5"):
        find_own_rows(bank, [Bank.open(copy)])


def test_other_collections_are_refused() -> None:
    one, other = collection(9), collection(9)
    message = r"`exclude_self=True` expects one bank .* is not among them, found codes of 9 rows"
    with pytest.raises(EvaluationError, match=message):
        evaluate(one, other, exclude_self=True)
    with pytest.raises(EvaluationError, match="is 2 of them"):
        evaluate(one, [one, one], exclude_self=True)
    single = collection(1)
    with pytest.raises(EvaluationError, match="nothing is left to rank"):
        evaluate(single, single, exclude_self=True)
