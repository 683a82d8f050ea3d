from __future__ import annotations

import collections
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.evaluation import bit_statistics as bitstats
from hashkit.evaluation.bit_statistics import bit_statistics


def code_set(bits: NDArray[np.integer]) -> CodeSet:
    return CodeSet(pack(bits.astype(np.uint8)), bits.shape[1])


def entropy(share: float) -> float:
    return -sum(p * math.log2(p) for p in (share, 1 - share) if p)


@given(st.integers(0, 2**32 - 1), st.integers(1, 140), st.integers(1, 60), st.booleans())
def test_statistics_match_their_definitions(seed: int, n_bits: int, n_rows: int, few: bool) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (n_rows, n_bits)) & (rng.random(n_bits) < 0.9)
    if few:
        bits = bits[rng.integers(0, 3, n_rows) % n_rows]
    found = bit_statistics(code_set(bits))
    share = bits.mean(axis=0)
    assert found.share_of_ones == pytest.approx(share.tolist())
    assert found.mean_entropy == pytest.approx(np.mean([entropy(float(p)) for p in share]))
    varies = np.flatnonzero(bits.std(axis=0) > 0)
    assert found.n_constant_bits == n_bits - len(varies)
    expected = [0.0]
    if len(varies) > 1:
        table = np.corrcoef(bits[:, varies].T)
        expected = [abs(table[a, b]) for a in range(len(varies)) for b in range(a)]
    assert found.mean_absolute_correlation == pytest.approx(np.mean(expected))
    assert found.max_absolute_correlation == pytest.approx(max(expected))
    groups = collections.Counter(map(tuple, bits.tolist())).values()
    assert found.n_distinct_codes == len(groups)
    assert found.largest_group == max(groups)
    assert found.share_duplicated == pytest.approx(sum(n for n in groups if n > 1) / n_rows)
    assert (found.n_rows, found.n_sampled) == (n_rows, n_rows)


def test_several_databases_are_one_and_deleted_rows_are_left_out() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (90, 6))
    deleted = rng.random(50) < 0.3
    parts = [
        dataclasses.replace(code_set(bits[:50]), deleted=deleted),
        code_set(bits[50:]),
    ]
    kept = np.concatenate([bits[:50][~deleted], bits[50:]])
    assert bit_statistics(parts) == bit_statistics(code_set(kept))


def test_results_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = code_set(np.random.default_rng(1).integers(0, 2, (333, 70)))
    whole = bit_statistics(codes)
    monkeypatch.setattr(bitstats, "_BLOCK_ROWS", 10)
    monkeypatch.setattr(bitstats, "_MOST_PRODUCTS", 333 * 70**2)
    assert bit_statistics(codes) == whole


def test_rows_beyond_the_limit_are_sampled_evenly_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bits = np.random.default_rng(2).integers(0, 2, (1000, 8))
    monkeypatch.setattr(bitstats, "_MOST_ROWS", 300)
    monkeypatch.setattr(bitstats, "_BLOCK_ROWS", 64)
    found = bit_statistics([code_set(bits[:400]), code_set(bits[400:])])
    every_fourth = np.concatenate([bits[:400:4], bits[400::4]])
    expected = bit_statistics(code_set(every_fourth))
    assert (found.n_rows, found.n_sampled) == (1000, 250)
    assert dataclasses.replace(found, n_rows=250) == expected


def test_correlations_of_long_codes_use_evenly_spaced_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = np.random.default_rng(3).integers(0, 2, (60, 10))
    monkeypatch.setattr(bitstats, "_MOST_CORRELATED", 4)
    found = bit_statistics(code_set(bits))
    thinned = bit_statistics(code_set(bits[:, ::3]))
    assert found.max_absolute_correlation == thinned.max_absolute_correlation
    assert len(found.share_of_ones) == 10
