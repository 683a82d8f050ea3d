"""The compiled scans, compared with a sort of all distances."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hashkit.codes import code_size, pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, ConfigError, IndexMismatchError
from hashkit.kernels.cpu import LANES
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Neighbours, Ranking
from hashkit.retrieval.sampling import planned
from hashkit.retrieval.scan_compiled import scan_compiled
from hashkit.retrieval.scan_numpy import scan_numpy
from hashkit.retrieval.search import search
from hashkit.retrieval.shards import Shards
from hashkit.threads import available_cpus, run_parallel

Codes = NDArray[np.uint8]
BITS = [1, 7, 8, 12, 16, 24, 31, 32, 40, 48, 63, 64, 65, 96, 127, 128, 192, 255, 256, 511, 1024]
ROWS = [1, 64, 65, 255, 257, 1000]


def uniform(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    return pack(rng.integers(0, 2, (n_rows, n_bits)))


def clustered(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    """Copies of a few codes with few bits flipped: duplicates and long ties."""
    centres = rng.integers(0, 2, (1 + n_rows // 100, n_bits))
    chosen = centres[rng.integers(0, len(centres), n_rows)]
    return pack(chosen ^ (rng.random(chosen.shape) < 0.02))


def sorted_rows(query: Codes, database: Codes, kept: NDArray[np.bool_]) -> tuple[Any, Any]:
    """Distances and rows of all kept rows, ordered by (distance, row)."""
    distances = np.bitwise_count(database ^ query).sum(axis=1, dtype=np.int64)
    rows = np.flatnonzero(kept)
    rows = rows[np.argsort(distances[rows], kind="stable")]
    return distances[rows], rows


def entries(found: Neighbours, query: int) -> tuple[Any, Any]:
    own = slice(found.offsets[query], found.offsets[query + 1])
    return found.distances[own], found.rows[own]


def check(
    queries: Codes,
    shards: Shards,
    database: Codes,
    kept: NDArray[np.bool_],
    top_k: int,
    radii: Any,
    n_threads: int,
) -> None:
    found = scan_compiled(queries, shards, top_k, np.asarray(radii), n_threads)
    assert found.distances.dtype == np.uint16
    assert found.rows.dtype == np.int64
    for query, radius in enumerate(radii):
        distances, rows = sorted_rows(queries[query], database, kept)
        n_found = min(top_k, int(np.count_nonzero(distances <= radius)))
        got = entries(found, query)
        np.testing.assert_array_equal(got[1], rows[:n_found])
        np.testing.assert_array_equal(got[0], distances[:n_found])


@pytest.mark.parametrize("n_bits", BITS)
def test_every_kernel_gives_the_first_of_the_sorted_rows(n_bits: int) -> None:
    """Half of the lengths with codes that have many ties."""
    make = (uniform, clustered)[BITS.index(n_bits) % 2]
    rng = np.random.default_rng(n_bits)
    for n_rows in ROWS:
        database = make(rng, n_rows, n_bits)
        shards = Shards.of(database, n_bits)
        everything = np.ones(n_rows, dtype=np.bool_)
        for n_queries in (1, 2, 3, 8):  # by rows; from three on by bit planes
            queries = uniform(rng, n_queries, n_bits)
            queries[0] = database[rng.integers(n_rows)]
            for top_k in {1, min(10, n_rows), n_rows}:  # selected or placed
                for n_threads in (1, 3):
                    radii = [n_bits] * n_queries
                    check(queries, shards, database, everything, top_k, radii, n_threads)
            radii = rng.integers(0, n_bits + 1, n_queries).tolist()
            check(queries, shards, database, everything, n_rows, radii, 2)


@pytest.mark.parametrize("kernel", ["rows", "planes", "counts"])
def test_the_kernel_that_is_asked_for_gives_the_first_of_the_sorted_rows(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every length of the last word, several blocks, and more queries than are compared at once."""
    monkeypatch.setenv("HASHKIT_KERNEL", kernel)
    for n_bits in (5, 16, 48, 64, 100, 128, 192, 2046):
        rng = np.random.default_rng(n_bits)
        n_rows = 5000 if n_bits < 2046 else 600
        database = np.concatenate([clustered(rng, n_rows - 300, n_bits), uniform(rng, 300, n_bits)])
        queries = np.concatenate([database[:4], uniform(rng, 3, n_bits)])
        kept = rng.random(n_rows) < 0.9
        shards = Shards.of(CodeSet(database, n_bits, deleted=~kept))
        check(queries, shards, database, kept, 9, [n_bits] * 7, 2)
        check(queries, shards, database, kept, n_rows // 40, [n_bits // 2] * 7, 1)


def test_a_kernel_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = uniform(np.random.default_rng(0), 200, 64)
    shards = Shards.of(codes, 64)
    monkeypatch.setenv("HASHKIT_KERNEL", "fast")
    with pytest.raises(
        ConfigError, match=r"rows, planes or counts .*64 bits, found 'fast': correct"
    ):
        scan_compiled(codes[:3], shards, 1, np.full(3, 64), 1)


OTHER_VECTORS = """
import os, sys
import numpy as np
from hashkit.kernels.cpu import LANES
from hashkit.retrieval.scan_compiled import scan_compiled
from hashkit.retrieval.scan_numpy import scan_numpy
from hashkit.retrieval.shards import Shards

assert LANES == int(sys.argv[1]), LANES
codes = np.random.default_rng(0).integers(0, 256, (1500, 15), np.uint8)
for n_bits in (64, 120):
    own = np.ascontiguousarray(codes[:, : n_bits // 8])
    shards, radii = Shards.of(own, n_bits), np.full(7, n_bits)
    expected = scan_numpy(own[:7], shards, 40, radii)
    for os.environ["HASHKIT_KERNEL"] in ("planes", "counts"):
        found = scan_compiled(own[:7], shards, 40, radii, 1)
        assert (found.rows == expected.rows).all()
        assert (found.distances == expected.distances).all()
print("equal")
"""


@pytest.mark.end_to_end
@pytest.mark.parametrize("n_lanes", [4, 8])
def test_kernels_for_vectors_of_each_width_give_the_same(n_lanes: int, tmp_path: Path) -> None:
    if n_lanes > LANES:
        pytest.skip(f"this CPU has no vectors of {64 * n_lanes} bits")
    environment = dict(os.environ)
    if n_lanes < LANES:
        environment |= {
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+popcnt,+sse4.2",
            "NUMBA_CACHE_DIR": str(tmp_path),
        }
    output = subprocess.run(
        [sys.executable, "-c", OTHER_VECTORS, str(n_lanes)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output == "equal\n"


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("n_queries", [1, 5])
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


def test_more_rows_within_a_radius_than_the_first_capacity() -> None:
    rng = np.random.default_rng(3)
    database = uniform(rng, 40_000, 16)
    queries = uniform(rng, 4, 16)
    queries[1] = queries[0]
    shards = Shards.of(database, 16)
    everything = np.ones(len(database), dtype=np.bool_)
    # The second and the last query have thousands of rows within their radius, the others few.
    check(queries, shards, database, everything, len(database), [2, 8, 1, 9], 2)


def test_queries_are_searched_in_groups_that_fit_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    database, queries = uniform(rng, 2000, 32), uniform(rng, 23, 32)
    whole = search(queries, database, top_k=10, n_bits=32)
    monkeypatch.setattr("hashkit.retrieval.scan_compiled._CANDIDATE_BYTES", 20_000)
    monkeypatch.setattr("hashkit.retrieval.scan_compiled._PAIRS_PER_CALL", 999)
    monkeypatch.setattr("hashkit.retrieval.scan_compiled._PARALLEL_BYTES", 1)
    shards = Shards.of(database, 32)
    pieces = scan_compiled(queries, shards, 10, np.full(23, 32), 2)
    np.testing.assert_array_equal(pieces.rows.reshape(23, 10), whole.rows)


@pytest.mark.parametrize("kernel", ["planes", "counts"])
def test_guesses_from_a_sample_change_no_result(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HASHKIT_KERNEL", kernel)
    rng = np.random.default_rng(11)
    database = clustered(rng, 40_000, 64)
    queries = np.concatenate([uniform(rng, 3, 64), database[:2]])
    sample = planned(200, len(database))
    assert sample is not None
    # The sample has more than its share of the first query's near rows, so the guess is too small.
    places = np.arange(len(database)).reshape(-1, 1)
    sampled = sample.of(Shards.of(places.view(np.uint8), 64)).codes[0].view(np.int64).ravel()
    database[sampled[:150]] = queries[0]
    shards, radii = Shards.of(database, 64), np.full(5, 64)
    first = scan_compiled(queries, sample.of(shards), sample.top_k, radii, 1)
    assert (
        sample.reached(first, radii)[0]
        < sorted_rows(queries[0], database, places[:, 0] >= 0)[0][199]
    )
    kept = rng.random(len(database)) < 0.8
    parts = [
        CodeSet(database[:25_000], 64, deleted=~kept[:25_000]),
        CodeSet(database[25_000:], 64, deleted=~kept[25_000:]),
    ]
    check(queries, shards, database, np.ones_like(kept), 200, radii, 1)
    check(queries, Shards.of(parts), database, kept, 200, radii, 2)


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


# Order within ties


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


@pytest.mark.parametrize("top_k", [1, 7, 60, 200])
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


# Engines and settings


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


# Memory and threads

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


def test_tasks_run_in_parallel_and_results_are_in_order() -> None:
    barrier = threading.Barrier(2, timeout=20)
    tasks = [lambda number=number: (barrier.wait(), number)[1] for number in range(2)]
    assert run_parallel(tasks) == [0, 1]
    assert run_parallel([]) == []
    assert run_parallel([lambda n=n: n for n in range(50 * available_cpus())])[-1] >= 49


def test_the_error_of_a_task_is_raised_after_all_have_stopped() -> None:
    done = []

    def fail() -> None:
        raise ValueError("one of them")

    with pytest.raises(ValueError, match="one of them"):
        run_parallel([fail, lambda: done.append(1)])
    with pytest.raises(ValueError, match="one of them"):
        run_parallel([lambda: done.append(2), fail])
    assert done == [1, 2]


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


SMALL_SEARCH = """
import sys
import numpy as np
import hashkit
from hashkit.retrieval.loading import KERNELS

codes = np.random.default_rng(0).integers(0, 256, (10_000, 8), dtype=np.uint8)
small = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
print("numba" in sys.modules)
KERNELS._bytes_left = 0
meanwhile = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
KERNELS._thread.join()
large = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
print("numba" in sys.modules)
print(KERNELS.are_wanted(1, 64))
for one in (small, meanwhile):
    print((one.rows == large.rows).all() and (one.distances == large.distances).all())
"""


@pytest.mark.end_to_end
def test_a_small_search_never_loads_the_kernels_and_many_do() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SMALL_SEARCH], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", *["True"] * 4]


def test_codes_too_long_for_bit_planes_are_searched() -> None:
    codes = np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8)
    shards = Shards.of(codes, 2_400)
    radii = np.full(4, 2_400)
    found = scan_compiled(codes[:4], shards, 5, radii, 2)
    expected = scan_numpy(codes[:4], shards, 5, radii)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)
