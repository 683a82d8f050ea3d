"""Filters, deleted rows, order within ties, engines and threads of a search."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codes_samples import Codes, clustered, entries, sorted_rows, uniform
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import code_size, pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, ConfigError, IndexMismatchError
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Ranking
from hashkit.retrieval.search import search


@looped("share", [0.0, 0.05, 0.5])
@looped("n_queries", [1, 5])
def test_rows_that_are_not_kept_are_skipped(share: float, n_queries: int) -> None:
    rng = np.random.default_rng(7)
    database = clustered(rng, 5000, 48)
    queries = database[rng.integers(0, 5000, n_queries)]
    kept = rng.random(5000) < share
    found = search(queries, database, top_k=20, n_bits=48, where=kept)
    assert found.rows.shape[1] == min(20, np.count_nonzero(kept))
    for query in range(n_queries):
        distances, rows = sorted_rows(queries[query], database, kept)
        np.testing.assert_array_equal(found.rows[query], rows[:20])
        np.testing.assert_array_equal(found.distances[query], distances[:20])
    by_number = search(queries, database, top_k=20, n_bits=48, where=np.flatnonzero(kept)[::-1])
    np.testing.assert_array_equal(by_number.rows, found.rows)


def test_deleted_rows_of_several_databases_are_not_found() -> None:
    rng = np.random.default_rng(5)
    database = clustered(rng, 300, 24)
    deleted = rng.random(300) < 0.3
    parts = [
        CodeSet(database[:100], 24, deleted=deleted[:100]),
        CodeSet(database[100:200], 24),
        CodeSet(database[200:], 24, deleted=deleted[200:]),
    ]
    kept = ~deleted
    kept[100:200] = True
    found = search(database[:3], parts, top_k=300)
    for query in range(3):
        distances, rows = sorted_rows(database[query], database, kept)
        np.testing.assert_array_equal(found.rows[query], rows)
        np.testing.assert_array_equal(found.distances[query], distances)
    some = rng.random(300) < 0.5
    both = search(database[:1], parts, top_k=300, where=some)
    np.testing.assert_array_equal(both.rows[0], sorted_rows(database[0], database, kept & some)[1])


def reranked(query: Codes, logits: NDArray[np.float32], database: Codes) -> list[tuple[Any, ...]]:
    """All rows by (distance, asymmetric distance, row), summed bit by bit."""
    ranked = []
    for row, code in enumerate(database):
        differs = np.unpackbits(code ^ query, count=len(logits))
        total = np.float32(0)
        for bit, weight in enumerate(np.abs(logits)):
            total += np.float32(differs[bit]) * weight
        ranked.append((int(differs.sum()), total, row))
    return sorted(ranked)


@looped("top_k", [1, 7, 60, 200])
def test_ties_are_ordered_by_asymmetric_distance(top_k: int) -> None:
    rng = np.random.default_rng(6)
    database = clustered(rng, 200, 20)
    logits = rng.normal(size=(4, 20)).astype(np.float32)
    queries = pack(logits > 0)
    found = search(queries, database, top_k=top_k, n_bits=20, logits=logits)
    near = search(queries, database, radius=9, top_k=top_k, n_bits=20, logits=logits)
    plain = search(queries, database, top_k=top_k, n_bits=20)
    np.testing.assert_array_equal(found.distances, plain.distances)
    assert top_k == 1 or (found.rows != plain.rows).any()
    for query in range(4):
        expected = reranked(queries[query], logits[query], database)
        assert found.rows[query].tolist() == [row for *_, row in expected[:top_k]]
        within = [row for distance, _, row in expected if distance <= 9][:top_k]
        assert entries(near, query)[1].tolist() == within


def test_logits_of_other_queries_are_refused() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    queries = pack(logits > 0)
    with pytest.raises(CodesError, match="query 1 do not give its code"):
        search(queries, queries, top_k=1, n_bits=16, logits=logits[[0, 0]])
    with pytest.raises(CodesError, match=r"expected logits \[2, 16\].*found \[2, 15\]"):
        search(queries, queries, top_k=1, n_bits=16, logits=logits[:, :15])
    with pytest.raises(CodesError, match="finite"):
        search(queries, queries, top_k=1, n_bits=16, logits=logits * np.inf)


@pytest.mark.parametrize("engine", ["auto", "scan", "index"])
def test_every_engine_gives_the_same_result(engine: Any) -> None:
    rng = np.random.default_rng(8)
    database = clustered(rng, 20_000, 64)
    queries = np.concatenate([database[:5], uniform(rng, 3, 64)])
    where = rng.random(20_000) < 0.7
    index = MultiIndex.build(database, 64)
    for wanted in ({"top_k": 5}, {"radius": 3}, {"radius": 40}, {"radius": 3, "top_k": 2}):
        expected = search(queries, database, n_bits=64, where=where, engine="scan", **wanted)
        found = search(
            queries, database, n_bits=64, where=where, engine=engine, index=index, **wanted
        )
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.distances, expected.distances)


def test_invalid_settings_are_refused() -> None:
    codes = uniform(np.random.default_rng(0), 10, 16)
    index = MultiIndex.build(codes, 16)
    for settings, message in [
        ({"engine": "fast"}, "`engine` must be one of auto, scan, index, not 'fast'"),
        ({"engine": "index"}, "needs an index"),
        ({"where": np.ones(9, dtype=np.bool_)}, r"`where` must be bool \[10\] or row numbers"),
        ({"where": np.array([3, 10])}, "rows from 0 to 9, found 3 to 10"),
        ({"where": np.array([0.5])}, "not float64"),
        ({"n_threads": 0}, "`n_threads` must be at least 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            search(codes, codes, top_k=1, n_bits=16, **settings)  # type: ignore[call-overload]
    with pytest.raises(IndexMismatchError, match="at most the database's 9 rows, found one of 10"):
        search(codes, codes[:9], top_k=1, n_bits=16, index=index)


MAPPED_SEARCH = """
import sys
import numpy as np
from hashkit.retrieval.search import search
from hashkit.retrieval.scan_compiled import scan_compiled
from hashkit.retrieval.scan_numpy import scan_numpy

def anonymous_kilobytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

codes = np.memmap(sys.argv[1], dtype=np.uint8, mode="r").reshape(-1, 8)
queries = np.array(codes[:20])
search(queries, codes[:10_000], top_k=10, n_bits=64)
search(queries[:1], codes[:10_000], top_k=10, n_bits=64)
before = anonymous_kilobytes()
many = search(queries, codes, top_k=10, n_bits=64)
one = search(queries[:1], codes, top_k=10, n_bits=64)
assert (one.rows == many.rows[:1]).all()
print(anonymous_kilobytes() - before)
"""


@pytest.mark.end_to_end
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_mapped_database_is_never_copied_into_memory(tmp_path: Path) -> None:
    n_rows = 4_000_000
    path = tmp_path / "codes"
    np.random.default_rng(0).integers(0, 256, (n_rows, 8), dtype=np.uint8).tofile(path)
    result = subprocess.run(
        [sys.executable, "-c", MAPPED_SEARCH, str(path)], capture_output=True, text=True, check=True
    )
    assert int(result.stdout) * 1024 < n_rows * code_size(64) / 8


def test_many_threads_can_search_at_once() -> None:
    rng = np.random.default_rng(9)
    database, queries = uniform(rng, 30_000, 48), uniform(rng, 6, 48)
    expected = search(queries, database, top_k=9, n_bits=48)
    found: list[Ranking] = []
    threads = [
        threading.Thread(target=lambda: found.append(search(queries, database, top_k=9, n_bits=48)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for one in found:
        np.testing.assert_array_equal(one.rows, expected.rows)
