"""Rankings with ties, drawn by Hypothesis, as groups of rows at one distance."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

TOLERANCE = 1e-12

Groups = list[tuple[int, int]]
"""(relevant rows, rows) at each distance."""

groups = st.lists(
    st.integers(0, 4).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=1,
    max_size=5,
).filter(lambda some: math.prod(math.comb(n, r) for r, n in some) <= 300)


def histograms(*some: Groups) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Histograms of relevant rows and of all rows, one ranking a row."""
    relevant = np.array([[r for r, _ in one] for one in some], dtype=np.int64)
    total = np.array([[n for _, n in one] for one in some], dtype=np.int64)
    return relevant, total
