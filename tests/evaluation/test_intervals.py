from __future__ import annotations

import numpy as np
import pytest

from hashkit.evaluation import intervals
from hashkit.evaluation.intervals import INTERVAL, bootstrap_interval


def test_interval_of_many_scores_matches_the_normal_distribution() -> None:
    scores = np.random.default_rng(0).beta(2, 3, 2000)
    interval = bootstrap_interval(scores)
    assert interval is not None
    deviation = scores.std() / np.sqrt(len(scores))
    expected = scores.mean() + np.array([-1.96, 1.96]) * deviation
    np.testing.assert_allclose(interval, expected, rtol=0, atol=0.15 * deviation)


def test_interval_of_two_scores() -> None:
    # Means are 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4: both tails lie at 0 and 1.
    assert bootstrap_interval(np.array([0.0, 1.0])) == [0.0, 1.0]


def test_interval_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(1).random(50)
    whole = bootstrap_interval(scores)
    monkeypatch.setattr(intervals, "_DRAWS", 777)
    assert bootstrap_interval(scores) == pytest.approx(whole)


def test_coverage_is_close_to_the_level() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval(rng.random(40))
        assert interval is not None
        covered += interval[0] <= 0.5 <= interval[1]
    assert 0.88 <= covered / 200 <= 0.99
    assert INTERVAL["level"] == 0.95


def test_intervals_are_reproducible_and_equal_scores_have_width_0() -> None:
    scores = np.random.default_rng(3).random(30)
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(np.full(9, 0.25)) == [0.25, 0.25]


def test_fewer_than_two_scores_have_no_interval() -> None:
    assert bootstrap_interval(np.array([0.5])) is None
    assert bootstrap_interval(np.array([])) is None
