"""Rows ordered by asymmetric distance beyond ties: the first of a longer list."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Ranking
from hashkit.retrieval.search import search

N_BITS = 12


def made(seed: int, n_queries: int, n_rows: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Logits, whole numbers that sum without rounding and tie often, and codes of a database."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 4, (n_queries, N_BITS)).astype(np.float32)
    near = np.tile(logits > 0, (n_rows // n_queries + 1, 1))[:n_rows]
    return logits, pack(near ^ (rng.random((n_rows, N_BITS)) < 0.2))


def check(found: Ranking, logits: Any, codes: Any, rows: Any, top_k: int, oversample: int) -> None:
    """Compare with the oracle; ``rows`` are the numbers of the rows that are searched."""
    texts = [oracles.bit_string(codes[row], N_BITS) for row in rows]
    assert found.asymmetric_distances is not None
    for query, own in enumerate(logits):
        expected = oracles.rescored_ranking(own.tolist(), texts, top_k, oversample)
        assert found.rows[query].tolist() == [rows[place] for *_, place in expected]
        assert found.distances[query].tolist() == [distance for _, distance, _ in expected]
        assert found.asymmetric_distances[query].tolist() == [score for score, *_ in expected]
    assert found.asymmetric_distances.dtype == np.float32


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(0, 30), st.integers(1, 9))
def test_the_nearest_rows_are_ordered_by_asymmetric_distance(
    seed: int, n_rows: int, top_k: int, oversample: int
) -> None:
    logits, codes = made(seed, 3, n_rows)
    found = search(
        pack(logits > 0), codes, top_k=top_k, n_bits=N_BITS, logits=logits, oversample=oversample
    )
    assert isinstance(found, Ranking)
    check(found, logits, codes, range(n_rows), top_k, oversample)


@pytest.mark.parametrize("engine", ["scan", "index", "auto"])
def test_databases_deletions_and_filters(engine: Any) -> None:
    logits, codes = made(1, 4, 400)
    rng = np.random.default_rng(1)
    deleted, where = rng.random(400) < 0.2, rng.random(400) < 0.6
    parts = [
        CodeSet(codes[:150], N_BITS, deleted=deleted[:150]),
        CodeSet(codes[150:], N_BITS, deleted=deleted[150:]),
    ]
    rows = np.flatnonzero(where & ~deleted).tolist()
    queries = pack(logits > 0)
    if engine != "index":
        found = search(
            queries, parts, top_k=7, where=where, logits=logits, oversample=5, engine=engine
        )
        check(found, logits, codes, rows, 7, 5)
    found = search(
        queries,
        CodeSet(codes, N_BITS, deleted=deleted),
        top_k=7,
        where=where,
        logits=logits,
        oversample=5,
        engine=engine,
        index=MultiIndex.build(codes, N_BITS),
    )
    check(found, logits, codes, rows, 7, 5)


def test_one_times_k_changes_the_order_alone() -> None:
    logits, codes = made(2, 3, 60)
    queries = pack(logits > 0)
    plain = search(queries, codes, top_k=9, n_bits=N_BITS)
    found = search(queries, codes, top_k=9, n_bits=N_BITS, logits=logits, oversample=1)
    assert plain.asymmetric_distances is None
    np.testing.assert_array_equal(np.sort(found.rows), np.sort(plain.rows))
    assert (found.rows != plain.rows).any()
    everything = search(queries, codes, top_k=9, n_bits=N_BITS, logits=logits, oversample=10**12)
    check(everything, logits, codes, range(60), 9, 60)


def test_without_oversample_only_ties_are_ordered() -> None:
    logits, codes = made(3, 3, 60)
    found = search(pack(logits > 0), codes, top_k=9, n_bits=N_BITS, logits=logits)
    assert found.asymmetric_distances is None
    assert (np.diff(found.distances.astype(int)) >= 0).all()


@looped(
    ("arguments", "message"),
    [
        (
            {"oversample": 2, "logits": None},
            "needs the queries' logits, found none",
        ),
        ({"oversample": 2, "radius": 3}, "cannot be combined with `radius`"),
        ({"oversample": 0}, "`oversample` must be between 1 and"),
        ({"oversample": 10**30}, "`oversample` must be between 1 and"),
        ({"oversample": 1.5}, "`oversample` must be a whole number"),
        ({"oversample": True}, "`oversample` must be a whole number"),
    ],
)
def test_oversampling_that_has_no_effect_is_refused(arguments: Any, message: str) -> None:
    logits, codes = made(4, 2, 20)
    with pytest.raises(ConfigError, match=message):
        search(
            pack(logits > 0), codes, **{"top_k": 3, "n_bits": N_BITS, "logits": logits, **arguments}
        )
