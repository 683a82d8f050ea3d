"""Draws are those of NumPy's generator, bit by bit."""

from __future__ import annotations

import numpy as np
from looped import looped

from hashkit.kernels.resampling import draw_scores, generator_state


@looped("n_scores", [2, 3, 1000, 3_000_001])  # of the most scores, one number in 2,900 is rejected
def test_draws_are_those_of_numpy(n_scores: int) -> None:
    scores = np.arange(n_scores, dtype=np.float64)
    state, rng = generator_state(7), np.random.default_rng(7)
    for n_drawn in (1, 20_001, 0, 20_000):  # half of a number of 64 bits is left in between
        drawn = np.empty(n_drawn)
        draw_scores(state, scores, drawn)
        np.testing.assert_array_equal(drawn, rng.integers(0, n_scores, n_drawn))
