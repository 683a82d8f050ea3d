from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hashkit
from hashkit.codes import code_size, pack, unpack
from hashkit.collection import join
from hashkit.collection.join import PairBlock, hamming_join
from hashkit.collection.pairs import Pair
from hashkit.errors import CodesError, ConfigError

ENGINES = ("auto", "numpy", "scan", "tables")


@dataclasses.dataclass(frozen=True)
class Case:
    n_bits: int
    codes: NDArray[np.uint8]
    other: NDArray[np.uint8] | None
    radius: int


def some_codes(rng: np.random.Generator, n_rows: int, n_bits: int, noise: float) -> NDArray:
    """Copies of three centres with a share of their bits flipped; at 0.5 they are random."""
    centres = rng.integers(0, 2, (3, n_bits))[rng.integers(0, 3, n_rows)]
    flipped = rng.random((n_rows, n_bits)) < noise
    return pack(centres ^ flipped) if n_rows else np.empty((0, code_size(n_bits)), np.uint8)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_bits = draw(st.sampled_from([1, 7, 8, 16, 24, 32, 48, 64, 100, 128, 256]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    noise = draw(st.sampled_from([0.0, 0.03, 0.5]))
    codes = some_codes(rng, draw(st.integers(0, 60)), n_bits, noise)
    other = None
    if draw(st.booleans()):
        other = some_codes(rng, draw(st.integers(0, 60)), n_bits, noise)
        other[: len(codes) // 2] = codes[: len(codes) // 2][: len(other)]
    radius = min(n_bits, draw(st.sampled_from([0, 1, 2, 5, n_bits // 3, n_bits])))
    return Case(n_bits, codes, other, radius)


def oracle(case: Case) -> list[Pair]:
    left = unpack(case.codes, case.n_bits)
    right = left if case.other is None else unpack(case.other, case.n_bits)
    distances = (left[:, None] != right).sum(axis=2)
    return [
        Pair(i, j, int(distances[i, j]))
        for i, j in np.argwhere(distances <= case.radius).tolist()
        if case.other is not None or i < j
    ]


def listed(blocks: list[PairBlock]) -> list[Pair]:
    assert all(len(block.left) for block in blocks)
    return [Pair(*map(int, pair)) for block in blocks for pair in zip(*block, strict=True)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(cases())
def test_every_engine_finds_the_same_pairs_in_order(case: Case) -> None:
    expected = oracle(case)
    for engine in ENGINES:
        found = hamming_join(case.codes, case.other, case.n_bits, case.radius, engine=engine)
        assert listed(list(found)) == expected, engine


@pytest.mark.parametrize("engine", ["scan", "tables"])
def test_blocks_stay_small_however_many_pairs_there_are(monkeypatch, engine: str) -> None:
    """Equal codes among others: pairs come in blocks of one left row or of a limited number."""
    monkeypatch.setattr(join, "_BLOCK_PAIRS", 1000)
    codes = np.zeros((600, 8), np.uint8)
    codes[::3] = np.random.default_rng(0).integers(0, 256, (200, 8))
    blocks = list(hamming_join(codes, None, 64, 2, engine=engine, n_threads=2))
    sizes = [len(block.left) for block in blocks]
    assert max(sizes) <= 1000 + 600
    assert sum(sizes) == 400 * 399 // 2
    left = np.concatenate([block.left for block in blocks])
    right = np.concatenate([block.right for block in blocks])
    assert (np.diff(left * 600 + right) > 0).all()


def test_a_code_in_a_crowded_bucket_is_compared_with_all_instead(monkeypatch) -> None:
    """Without a budget, each left code is given up in the tables; the pairs are the same."""
    rng = np.random.default_rng(1)
    codes = some_codes(rng, 500, 64, 0.03)
    expected = listed(list(hamming_join(codes, None, 64, 6, engine="numpy")))
    monkeypatch.setattr(join, "_BUDGET", 0.0)
    assert listed(list(hamming_join(codes, None, 64, 6, engine="tables"))) == expected
    assert len(expected) > 1000


def test_codes_and_numbers_are_checked_before_the_first_pair() -> None:
    codes = np.zeros((3, 8), np.uint8)
    with pytest.raises(CodesError, match=r"codes of 48 bits must be uint8 \[n, 6\]"):
        hamming_join(codes, None, 48, 2)
    with pytest.raises(CodesError, match=r"must be uint8 \[n, 8\]"):
        hamming_join(codes, np.zeros((3, 4), np.uint8), 64, 2)
    with pytest.raises(ConfigError, match="`radius` must be"):
        hamming_join(codes, None, 64, -1)
    with pytest.raises(ConfigError, match="`engine` must be one of auto, numpy, scan, tables"):
        hamming_join(codes, None, 64, 2, engine="index")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`radius` must be"):
        hashkit.pairs(codes, 2.5, n_bits=64)  # type: ignore[arg-type]
    with pytest.raises(CodesError, match="give `n_bits`"):
        hashkit.pairs(codes)


def test_the_pairs_of_a_bank_leave_deleted_rows_out() -> None:
    codes = np.array([[0], [0], [1], [255], [0], [254]], np.uint8)
    deleted = np.array([False, True, False, False, False, False])
    database = hashkit.CodeSet(codes, 8, deleted=deleted)
    expected = [Pair(0, 2, 1), Pair(0, 4, 0), Pair(2, 4, 1), Pair(3, 5, 1)]
    assert list(hashkit.pairs(database, 1)) == expected
    assert next(hashkit.pairs([database, database], 0)) == Pair(0, 4, 0)
    assert (0, 6, 0) in hashkit.pairs([database, database], 0)
    assert list(hashkit.pairs(codes[:2], 0, n_bits=8)) == [Pair(0, 1, 0)]
