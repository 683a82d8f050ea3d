from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from rankings import TOLERANCE, Groups, groups, histograms

from hashkit.errors import ConfigError
from hashkit.evaluation import average_precision as metrics
from hashkit.evaluation.tied_groups import TiedGroups


def test_published_example_of_a_tie() -> None:
    relevant, total = histograms([(16, 32)])
    assert metrics.best_average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        1.0, abs=1e-12
    )
    assert metrics.worst_average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        0.3222, abs=5e-5
    )
    assert metrics.average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        0.5493, abs=5e-5
    )


@pytest.mark.parametrize("convention", metrics.CONVENTIONS)
@given(some=groups, cutoff=st.none() | st.integers(1, 22))
def test_average_precision_is_the_mean_over_every_tie_order(
    convention: str, some: Groups, cutoff: int | None
) -> None:
    found = metrics.average_precision(
        TiedGroups(*histograms(some)), cutoff=cutoff, convention=convention
    )
    n_rows = sum(n for _, n in some)
    expected = oracles.mean_over_ties(oracles.AP[convention], some, cutoff or max(1, n_rows))
    assert found[0] == pytest.approx(float(expected), abs=TOLERANCE)


@looped("convention", metrics.CONVENTIONS)
def test_cutoffs_before_in_and_after_a_tie(convention: str) -> None:
    some = [(1, 2), (0, 0), (3, 6), (2, 3), (0, 2)]
    for cutoff in range(1, 15):
        found = metrics.average_precision(
            TiedGroups(*histograms(some)), cutoff=cutoff, convention=convention
        )
        expected = oracles.mean_over_ties(oracles.AP[convention], some, cutoff)
        assert found[0] == pytest.approx(float(expected), abs=TOLERANCE), cutoff


@given(groups)
def test_best_and_worst_are_the_extremes_over_every_tie_order(some: Groups) -> None:
    n_rows = max(1, sum(n for _, n in some))
    worst, best = oracles.extremes_over_ties(oracles.ap_all_relevant, some, n_rows)
    relevant, total = histograms(some)
    assert metrics.best_average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        float(best), abs=TOLERANCE
    )
    assert metrics.worst_average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        float(worst), abs=TOLERANCE
    )


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_without_ties_all_three_functions_agree(relevant_ranks: list[bool]) -> None:
    relevant, total = histograms([(int(r), 1) for r in relevant_ranks])
    expected = float(oracles.ap_all_relevant(relevant_ranks, len(relevant_ranks)))
    for average in (
        metrics.average_precision,
        metrics.best_average_precision,
        metrics.worst_average_precision,
    ):
        assert average(TiedGroups(relevant, total))[0] == pytest.approx(expected, abs=TOLERANCE)


def test_conventions_divide_by_different_numbers() -> None:
    # + - - at R = 3, with two relevant rows in all
    relevant, total = histograms([(1, 1), (0, 1), (0, 1), (1, 1)] + [(0, 1)] * 26)
    scores = {
        name: float(
            metrics.average_precision(TiedGroups(relevant, total), cutoff=3, convention=name)[0]
        )
        for name in metrics.CONVENTIONS
    }
    assert scores == pytest.approx(
        {"all-relevant": 1 / 2, "min": 1 / 2, "hits": 1.0, "caffe-dnnh": 1 / 3}
    )


def test_all_conventions_but_caffe_dnnh_agree_on_the_whole_ranking() -> None:
    rng = np.random.default_rng(1)
    total = rng.integers(0, 50, (20, 33))
    relevant = rng.binomial(total, 0.3)
    whole = metrics.average_precision(TiedGroups(relevant, total))
    for name in ("min", "hits"):
        np.testing.assert_allclose(
            metrics.average_precision(TiedGroups(relevant, total), convention=name),
            whole,
            atol=TOLERANCE,
        )
    tenth = metrics.average_precision(TiedGroups(relevant, total), convention="caffe-dnnh")
    np.testing.assert_allclose(
        tenth, whole * relevant.sum(axis=1) / (total.sum(axis=1) // 10), atol=TOLERANCE
    )


@given(groups, st.integers(1, 20))
def test_a_longer_cutoff_never_lowers_the_precision_sum(some: Groups, cutoff: int) -> None:
    relevant, total = histograms(some)
    shorter = metrics.precision_sum(TiedGroups(relevant, total), cutoff)[0]
    assert shorter <= metrics.precision_sum(TiedGroups(relevant, total), cutoff + 1)[0] + TOLERANCE
    assert (
        metrics.precision_sum(TiedGroups(relevant, total), 99)[0]
        == metrics.precision_sum(TiedGroups(relevant, total))[0]
    )


def test_rankings_of_a_hundred_million_rows_keep_their_precision() -> None:
    far = 10**8
    relevant, total = histograms([(0, far), (2, 2)], [(0, far), (2, 3)])
    found = metrics.average_precision(TiedGroups(relevant, total))
    first = (1 / (far + 1) + 2 / (far + 2)) / 2
    # two relevant of three: ranks (1, 2), (1, 3), (2, 3) after the first group
    orders = [(1, 2), (1, 3), (2, 3)]
    second = sum((1 / (far + a) + 2 / (far + b)) / 2 for a, b in orders) / 3
    np.testing.assert_allclose(found, [first, second], rtol=1e-7, atol=0)


def test_large_ties_match_the_explicit_sum() -> None:
    before, n_rows, n_relevant, hits = 30, 5000, 700, 10
    relevant, total = histograms([(hits, before), (n_relevant, n_rows)])
    j = np.arange(1, n_rows + 1)
    tie = (
        n_relevant
        / n_rows
        * ((hits + 1 + (j - 1) * (n_relevant - 1) / (n_rows - 1)) / (before + j))
    )
    head = np.arange(1, before + 1)
    start = hits / before * ((1 + (head - 1) * (hits - 1) / (before - 1)) / head)
    expected = (start.sum() + tie.sum()) / (hits + n_relevant)
    assert metrics.average_precision(TiedGroups(relevant, total))[0] == pytest.approx(
        expected, abs=1e-12
    )


def test_convention_hits_matches_simulated_orders_of_a_large_tie() -> None:
    relevant, total = histograms([(30, 60), (400, 1500), (5, 40)])
    rng = np.random.default_rng(5)
    cutoff, scores = 300, []
    for _ in range(4000):
        ranks = np.concatenate(
            [rng.permutation(np.arange(n) < r) for r, n in [(30, 60), (400, 1500)]]
        )[:cutoff]
        positions = np.flatnonzero(ranks) + 1
        scores.append(np.mean(np.arange(1, len(positions) + 1) / positions))
    found = metrics.average_precision(
        TiedGroups(relevant, total), cutoff=cutoff, convention="hits"
    )[0]
    error = np.std(scores) / math.sqrt(len(scores))
    assert error < 2e-3
    assert abs(found - np.mean(scores)) < 5 * error


def test_queries_are_scored_independently_of_each_other() -> None:
    rng = np.random.default_rng(2)
    total = rng.integers(0, 9, (6, 17))
    relevant = rng.binomial(total, 0.4)
    for name in metrics.CONVENTIONS:
        together = metrics.average_precision(
            TiedGroups(relevant, total), cutoff=20, convention=name
        )
        alone = [
            metrics.average_precision(
                TiedGroups(relevant[[i]], total[[i]]), cutoff=20, convention=name
            )
            for i in range(6)
        ]
        np.testing.assert_array_equal(together, np.concatenate(alone))


def test_a_query_without_relevant_rows_scores_0() -> None:
    relevant, total = histograms([(0, 3), (0, 2)])
    for name in metrics.CONVENTIONS:
        assert (
            metrics.average_precision(TiedGroups(relevant, total), cutoff=4, convention=name)[0]
            == 0
        )
    assert metrics.best_average_precision(TiedGroups(relevant, total))[0] == 0


def test_unknown_conventions_and_cutoffs_below_1_are_refused() -> None:
    relevant, total = histograms([(1, 2)])
    with pytest.raises(ConfigError, match="all-relevant, min, hits, caffe-dnnh"):
        metrics.average_precision(TiedGroups(relevant, total), convention="mean")
    for cutoff in (0, -1):
        with pytest.raises(ConfigError, match="at least 1"):
            metrics.average_precision(TiedGroups(relevant, total), cutoff=cutoff)
