"""Comparison with other libraries, where their conventions are the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeSet
from hashkit.evaluation.evaluator import Report, evaluate

KS = (1, 3, 10, 25)


@dataclasses.dataclass(frozen=True)
class Example:
    """An evaluation, and the inputs of other libraries: scores and grades, [q, n]."""

    scores: NDArray[np.int64]  # positive: torchmetrics never counts a row of score 0 or less
    grades: NDArray[np.int64]
    linear: Report
    hits: Report


def example(n_bits: int, *, tied: bool) -> Example:
    """Multi-hot labels; without ties, all distances of a query differ."""
    rng = np.random.default_rng(n_bits)
    n_queries, n_rows = 6, n_bits if not tied else 80
    query_labels = (rng.random((n_queries, 5)) < 0.4).astype(np.uint8)
    query_labels[:, 0] |= query_labels.sum(axis=1) == 0
    database_labels = (rng.random((n_rows, 5)) < 0.25).astype(np.uint8)
    database_bits = rng.integers(0, 2, (n_rows, n_bits))
    query_bits = rng.integers(0, 2, (n_queries, n_bits))
    if not tied:
        # A row with r ones is at distance r from a query of zeros.
        database_bits = np.tri(n_rows, n_bits, dtype=int)[rng.permutation(n_rows)]
        query_bits[:] = 0
    query = CodeSet(pack(query_bits), n_bits, query_labels)
    database = CodeSet(pack(database_bits), n_bits, database_labels)
    distances = (unpack(query.codes, n_bits)[:, None] != unpack(database.codes, n_bits)).sum(axis=2)
    grades = query_labels.astype(np.int64) @ database_labels.T
    if not tied:
        assert all(len(set(row)) == n_rows for row in distances.tolist())
    linear = evaluate(query, database, ks=KS, cutoffs=KS, ndcg_gain="linear")
    hits = evaluate(query, database, cutoffs=KS, convention="hits")
    return Example(n_bits + 1 - distances, grades, linear, hits)


@pytest.fixture(scope="module")
def untied() -> Example:
    return example(60, tied=False)


@pytest.fixture(scope="module")
def tied() -> Example:
    return example(6, tied=True)


def test_ndcg_matches_scikit_learn_with_and_without_ties(untied: Example, tied: Example) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for which in (untied, tied):
        for k in KS:
            expected = metrics.ndcg_score(which.grades, which.scores, k=k, ignore_ties=False)
            assert which.linear.ndcg_at[k] == pytest.approx(expected, abs=1e-12)


def test_average_precision_matches_scikit_learn_without_ties(untied: Example) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    expected = [
        metrics.average_precision_score(grades > 0, scores)
        for grades, scores in zip(untied.grades, untied.scores, strict=True)
    ]
    np.testing.assert_allclose(untied.linear.average_precision, expected, rtol=0, atol=1e-12)


def test_average_precision_of_scikit_learn_differs_with_ties(tied: Example) -> None:
    """Each row of a tie gets the precision of the whole tie: neither a mean nor a bound."""
    metrics = pytest.importorskip("sklearn.metrics")
    relevant, scores = tied.grades[0] > 0, tied.scores[0]
    expected = np.mean([(relevant[scores >= s]).mean() for s in scores[relevant]])
    found = metrics.average_precision_score(relevant, scores)
    assert found == pytest.approx(expected)
    assert found != pytest.approx(tied.linear.average_precision[0], abs=1e-3)


@pytest.mark.slow  # importing torch and torchmetrics takes seconds
def test_metrics_match_torchmetrics(untied: Example) -> None:
    torch = pytest.importorskip("torch")
    retrieval = pytest.importorskip("torchmetrics.retrieval")
    scores = torch.from_numpy(untied.scores.astype(np.float64)).flatten()
    grades = torch.from_numpy(untied.grades)
    indexes = torch.arange(len(grades)).repeat_interleave(grades.shape[1])
    relevant = grades.flatten() > 0
    report = untied.linear
    whole = retrieval.RetrievalMAP()(scores, relevant, indexes=indexes)
    assert report.map == pytest.approx(float(whole), abs=1e-6)
    for k in KS:
        cut = retrieval.RetrievalMAP(top_k=k)(scores, relevant, indexes=indexes)
        assert untied.hits.map_at[k] == pytest.approx(float(cut), abs=1e-6)
        precision = retrieval.RetrievalPrecision(top_k=k)(scores, relevant, indexes=indexes)
        recall = retrieval.RetrievalRecall(top_k=k)(scores, relevant, indexes=indexes)
        ndcg = retrieval.RetrievalNormalizedDCG(top_k=k)(scores, grades.flatten(), indexes=indexes)
        assert report.precision_at[k] == pytest.approx(float(precision), abs=1e-6)
        assert report.recall_at[k] == pytest.approx(float(recall), abs=1e-6)
        assert report.ndcg_at[k] == pytest.approx(float(ndcg), abs=1e-6)


def test_metrics_match_trec_eval(untied: Example) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judged = {
        str(q): {str(row): int(grade) for row, grade in enumerate(grades)}
        for q, grades in enumerate(untied.grades)
    }
    run = {
        str(q): {str(row): float(score) for row, score in enumerate(scores)}
        for q, scores in enumerate(untied.scores)
    }
    ks = ",".join(map(str, KS))
    measures = {"map", f"map_cut.{ks}", f"ndcg_cut.{ks}", f"P.{ks}", f"recall.{ks}"}
    found = pytrec_eval.RelevanceEvaluator(judged, measures).evaluate(run)

    def mean(name: str) -> float:
        return float(np.mean([one[name] for one in found.values()]))

    report = untied.linear
    assert report.map == pytest.approx(mean("map"), abs=1e-12)
    for k in KS:
        # map_cut divides by all relevant rows, as the default convention does
        assert report.map_at[k] == pytest.approx(mean(f"map_cut_{k}"), abs=1e-12)
        assert report.ndcg_at[k] == pytest.approx(mean(f"ndcg_cut_{k}"), abs=1e-12)
        assert report.precision_at[k] == pytest.approx(mean(f"P_{k}"), abs=1e-12)
        assert report.recall_at[k] == pytest.approx(mean(f"recall_{k}"), abs=1e-12)
