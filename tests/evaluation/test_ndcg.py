from __future__ import annotations

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashkit.errors import ConfigError
from hashkit.evaluation.ndcg import GAINS, ndcg_at

TOLERANCE = 1e-12

ORACLE_GAINS = {"exponential": lambda grade: 2**grade - 1, "linear": lambda grade: grade}

Groups = list[list[int]]
groups = st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=1, max_size=3).filter(
    lambda some: sum(map(len, some)) <= 7
)


def histogram(*several: Groups, n_grades: int = 4) -> NDArray[np.int64]:
    """Number of rows by grade and distance, from lists of grades by distance."""
    n_distances = max(map(len, several))
    found = np.zeros((len(several), n_grades, n_distances), np.int64)
    for query, some in enumerate(several):
        for distance, grades in enumerate(some):
            for grade in grades:
                found[query, grade, distance] += 1
    return found


@pytest.mark.parametrize("gain", GAINS)
@given(some=groups, k=st.integers(1, 9))
def test_ndcg_is_the_mean_over_every_tie_order(gain: str, some: Groups, k: int) -> None:
    orders = list(oracles.graded_tie_orders(some))
    expected = np.mean([oracles.ndcg(order, k, ORACLE_GAINS[gain]) for order in orders])
    found = ndcg_at(histogram(some), [k], gain)
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(float(expected), abs=TOLERANCE)


@given(st.lists(groups, min_size=1, max_size=4))
def test_queries_and_ks_are_independent(several: list[Groups]) -> None:
    ks = [1, 2, 5, 30]
    width = max(map(len, several))
    padded = [some + [[]] * (width - len(some)) for some in several]
    together = ndcg_at(histogram(*padded), ks)
    alone = [[ndcg_at(histogram(some), [k])[0, 0] for k in ks] for some in padded]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-14)


def test_a_ranking_computed_by_hand() -> None:
    # Ranks 1 to 3 share 1, 0 and 2 labels; the best order is 2, 1, 0.
    some = histogram([[1], [0], [2]])
    discounts = [1.0, 1 / np.log2(3), 1 / 2]
    linear = (1 + 2 * discounts[2]) / (2 + discounts[1])
    exponential = (1 + 3 * discounts[2]) / (3 + discounts[1])
    assert ndcg_at(some, [3], "linear")[0, 0] == pytest.approx(linear, abs=1e-15)
    assert ndcg_at(some, [3])[0, 0] == pytest.approx(exponential, abs=1e-15)
    assert ndcg_at(some, [1])[0, 0] == pytest.approx(1 / 3, abs=1e-15)


def test_gains_agree_with_one_label_per_row() -> None:
    rng = np.random.default_rng(0)
    some = rng.integers(0, 9, (5, 2, 17))
    np.testing.assert_array_equal(ndcg_at(some, [7, 90], "linear"), ndcg_at(some, [7, 90]))


def test_the_best_order_scores_1_and_no_relevant_rows_score_0() -> None:
    best = histogram([[3, 3], [2], [1, 1, 1], [0] * 5])
    np.testing.assert_allclose(ndcg_at(best, [1, 2, 3, 5, 50]), 1, rtol=0, atol=TOLERANCE)
    assert ndcg_at(histogram([[0, 0], [0]]), [1, 9]).tolist() == [[0, 0]]
    assert ndcg_at(best, []).shape == (1, 0)


def test_invalid_settings_are_refused() -> None:
    some = histogram([[1]])
    with pytest.raises(ConfigError, match="known: exponential, linear"):
        ndcg_at(some, [1], "log")
    with pytest.raises(ConfigError, match="at least 1"):
        ndcg_at(some, [0])
    with pytest.raises(ConfigError, match="use linear gains"):
        ndcg_at(np.ones((1, 1002, 2), np.int64), [1])
    assert ndcg_at(np.ones((1, 1002, 2), np.int64), [2004], "linear")[0, 0] < 1
