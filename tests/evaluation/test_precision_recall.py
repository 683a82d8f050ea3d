from __future__ import annotations

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankings import TOLERANCE, Groups, groups, histograms

from hashkit.errors import ConfigError
from hashkit.evaluation import precision_recall as ranks
from hashkit.evaluation.tied_groups import TiedGroups


@given(some=groups, k=st.integers(1, 25))
def test_precision_and_recall_at_k_are_means_over_every_tie_order(some: Groups, k: int) -> None:
    relevant, total = histograms(some)
    precision = oracles.mean_over_ties(oracles.precision_at, some, k)
    recall = oracles.mean_over_ties(oracles.recall_at, some, k)
    assert ranks.precision_at(TiedGroups(relevant, total), k)[0] == pytest.approx(
        float(precision), abs=TOLERANCE
    )
    assert ranks.recall_at(TiedGroups(relevant, total), k)[0] == pytest.approx(
        float(recall), abs=TOLERANCE
    )


@given(st.lists(groups.map(lambda some: (some * 5)[:5]), min_size=1, max_size=4))
def test_queries_and_ks_are_independent(several: list[Groups]) -> None:
    relevant, total = histograms(*several)
    ks = [1, 2, 3, 5, 8, 40]
    together = ranks.expected_hits(TiedGroups(relevant, total), ks)
    alone = [
        [float(ranks.expected_hits(TiedGroups(relevant[[i]], total[[i]]), [k])[0, 0]) for k in ks]
        for i in range(len(several))
    ]
    np.testing.assert_array_equal(together, alone)
    assert ranks.expected_hits(TiedGroups(relevant, total), []).shape == (len(several), 0)


def test_group_of_each_rank() -> None:
    some = [(0, 0), (0, 2), (0, 0), (0, 3), (0, 0)]
    other = [(0, 4), (0, 1), (0, 0), (0, 0), (0, 0)]
    group, ranked = TiedGroups(*histograms(some, other)).places([5, 1, 2, 3, 6, 3])
    assert group.tolist() == [[3, 1, 1, 3, 3, 3], [1, 0, 0, 0, 1, 0]]
    assert ranked.tolist() == [[3, 1, 2, 1, 3, 1], [1, 1, 2, 3, 1, 3]]
    group, ranked = TiedGroups(*histograms([(0, 0), (0, 0)])).places([1])
    assert (group.tolist(), ranked.tolist()) == ([[0]], [[0]])


def test_recall_is_0_without_relevant_rows() -> None:
    assert ranks.recall_at(TiedGroups(*histograms([(0, 3), (0, 2)])), 3)[0] == 0


def test_precision_recall_and_empty_balls_by_radius() -> None:
    relevant, total = histograms([(0, 0), (1, 2), (0, 0), (2, 3)])
    precision, recall, is_empty = ranks.within_radius(relevant, total)
    np.testing.assert_allclose(precision, [[0, 1 / 2, 1 / 2, 3 / 5]])
    np.testing.assert_allclose(recall, [[0, 1 / 3, 1 / 3, 1]])
    assert is_empty.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_1_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        ranks.precision_at(TiedGroups(*histograms([(1, 2)])), k)
