"""Multi-index hashing, compared with a search of all rows."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_samples import crowded_codes, random_codes
from looped import looped
from numpy.typing import NDArray

from hashkit.codes import unpack
from hashkit.errors import CodesError, ConfigError
from hashkit.kernels.arrays import read_only
from hashkit.multi_index import tables as multi_index_tables
from hashkit.multi_index.index import MultiIndex, MultiIndexResult
from hashkit.multi_index.tables import cut_bits

SETTINGS = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def brute_force(
    query: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    n_bits: int,
    radius: int | None,
    top_k: int | None,
    kept: NDArray[Any] | None = None,
) -> list[tuple[int, int]]:
    """(distance, row) of the rows that a search must find, by unpacked bits and a sort."""
    distances = (unpack(codes, n_bits) != unpack(query[None], n_bits)).sum(axis=1).tolist()
    rows = range(len(codes)) if kept is None else np.flatnonzero(kept).tolist()
    ranking = sorted((distances[row], row) for row in rows)
    return [pair for pair in ranking if radius is None or pair[0] <= radius][:top_k]


def pairs(found: MultiIndexResult, query: int) -> list[tuple[int, int]]:
    part = slice(found.offsets[query], found.offsets[query + 1])
    return list(zip(found.distances[part].tolist(), found.rows[part].tolist(), strict=True))


@dataclasses.dataclass(frozen=True)
class Case:
    n_bits: int
    codes: NDArray[np.uint8]
    query_codes: NDArray[np.uint8]
    n_tables: int | None
    radius: int | None
    top_k: int | None
    kept: NDArray[Any] | None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    n_bits = draw(st.integers(1, 40) | st.integers(41, 200))
    n_rows = draw(st.integers(0, 300))
    seed = draw(st.integers(0, 2**32 - 1))
    n_centres = draw(st.integers(0, 5))
    if n_centres:
        codes = crowded_codes(seed, n_rows, n_bits, n_centres)
    else:
        codes = random_codes(seed, n_rows, n_bits)
    far, near = random_codes(seed + 1, 2, n_bits), codes[: draw(st.integers(0, 2))]
    fewest = -(-n_bits // 16)  # longer substrings only cost the test time
    n_tables = draw(st.integers(fewest, max(fewest, min(n_bits, 30))) | st.none())
    wanted = draw(st.sampled_from(["radius", "top_k", "both"]))
    radius = draw(st.integers(0, min(12, n_bits)) | st.integers(0, n_bits))
    top_k = draw(st.integers(0, 20) | st.integers(0, n_rows + 2))
    kept = np.random.default_rng(seed).random(n_rows) < draw(st.sampled_from([0.0, 0.5, 0.9]))
    return Case(
        n_bits,
        codes,
        np.concatenate([near, far]),
        n_tables,
        None if wanted == "top_k" else radius,
        None if wanted == "radius" else top_k,
        draw(st.sampled_from([None, kept, kept.astype(np.uint8)])),
    )


@SETTINGS
@given(cases())
def test_a_search_finds_what_brute_force_finds_in_the_same_order(case: Case) -> None:
    index = MultiIndex.build(case.codes, case.n_bits, n_tables=case.n_tables)
    found = index.search(
        case.query_codes, radius=case.radius, top_k=case.top_k, kept=case.kept, budget=math.inf
    )
    assert found.offsets[-1] == len(found.rows) == len(found.distances)
    assert (found.offsets.dtype, found.rows.dtype) == (np.int64, np.int64)
    assert found.distances.dtype == np.uint16
    assert not found.given_up.any()
    for query, code in enumerate(case.query_codes):
        expected = brute_force(code, case.codes, case.n_bits, case.radius, case.top_k, case.kept)
        assert pairs(found, query) == expected


@SETTINGS
@given(cases(), st.floats(0, 0.5))
def test_a_query_answered_within_its_budget_is_complete(case: Case, budget: float) -> None:
    index = MultiIndex.build(case.codes, case.n_bits, n_tables=case.n_tables)
    found = index.search(
        case.query_codes, radius=case.radius, top_k=case.top_k, kept=case.kept, budget=budget
    )
    for query, code in enumerate(case.query_codes):
        expected = brute_force(code, case.codes, case.n_bits, case.radius, case.top_k, case.kept)
        assert pairs(found, query) == ([] if found.given_up[query] else expected)


@looped("n_bits", [1, 8, 9, 63, 64, 65, 127, 128, 129, 500, 1024])
def test_codes_of_every_width(n_bits: int) -> None:
    codes = crowded_codes(n_bits, 2000, n_bits, 40)
    index = MultiIndex.build(codes, n_bits)
    found = index.search(codes[:5], radius=n_bits // 10, budget=math.inf)
    nearest = index.search(codes[:5], top_k=7, budget=math.inf)
    for query in range(5):
        expected = brute_force(codes[query], codes, n_bits, n_bits // 10, None)
        assert pairs(found, query) == expected
        assert pairs(nearest, query) == brute_force(codes[query], codes, n_bits, None, 7)


@pytest.mark.parametrize("n_rows", [1000, 3000, 9000])
def test_buckets_with_a_few_and_with_dozens_of_entries(n_rows: int) -> None:
    codes, query_codes = random_codes(n_rows, n_rows, 24), random_codes(1, 40, 24)
    found = MultiIndex.build(codes, 24, n_tables=3).search(query_codes, radius=4, budget=math.inf)
    for query, code in enumerate(query_codes):
        assert pairs(found, query) == brute_force(code, codes, 24, 4, None)


def test_a_bucket_of_thousands_of_entries_and_a_result_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    codes = random_codes(0, 5000, 40)
    codes[:, :3] = 7  # in the first tables, one bucket holds all rows
    codes = codes[rng.integers(0, 3000, 5000)]
    index = MultiIndex.build(codes, 40, n_tables=3)
    found = index.search(codes[:3], radius=16, budget=math.inf)
    nearest = index.search(codes[:3], top_k=4000, budget=math.inf)
    for query in range(3):
        assert pairs(found, query) == brute_force(codes[query], codes, 40, 16, None)
        assert pairs(nearest, query) == brute_force(codes[query], codes, 40, None, 4000)
    assert found.offsets[-1] == 15_000


@pytest.mark.slow  # compiles all kernels again
def test_the_widest_entry_types_give_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = crowded_codes(3, 3000, 48, 50)
    narrow = MultiIndex.build(codes, 48)
    expected = narrow.search(codes[:20], radius=6, budget=math.inf)
    monkeypatch.setattr(multi_index_tables, "entry_types", lambda _: (np.uint64, np.int64))
    index = MultiIndex.build(codes, 48)
    found = index.search(codes[:20], radius=6, budget=math.inf)
    np.testing.assert_array_equal(found.rows, expected.rows)
    assert index.nbytes > 1.5 * narrow.nbytes


def test_threads_and_parts_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashkit.multi_index.index._PARALLEL_COST", 0)
    codes = crowded_codes(1, 20_000, 64, 300)
    one = MultiIndex.build(codes, 64, n_threads=1)
    two = MultiIndex.build(codes, 64, n_threads=2)
    for alone, together in zip(one._tables, two._tables, strict=True):
        np.testing.assert_array_equal(alone, together)
    calls = []
    run = MultiIndex._run

    def counted(self: MultiIndex, query_codes: NDArray[np.uint8], **rest: Any) -> Any:
        calls.append(len(query_codes))
        return run(self, query_codes, **rest)

    monkeypatch.setattr(MultiIndex, "_run", counted)
    first = one.search(codes[:101], radius=9, n_threads=1, budget=math.inf)
    second = one.search(codes[:101], radius=9, n_threads=3, budget=math.inf)
    assert sorted(calls) == [33, 34, 34, 101]
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.distances, second.distances)


def test_searches_run_in_parallel() -> None:
    codes = crowded_codes(1, 20_000, 64, 300)
    index = MultiIndex.build(codes, 64)
    expected = index.search(codes[:50], radius=8, budget=math.inf).rows
    results: list[NDArray[np.int64]] = []

    def work() -> None:
        for _ in range(20):
            results.append(index.search(codes[:50], radius=8, budget=math.inf, n_threads=1).rows)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80
    for rows in results:
        np.testing.assert_array_equal(rows, expected)


# Giving up


def test_a_search_that_costs_more_than_its_budget_is_given_up() -> None:
    codes = random_codes(0, 20_000, 64)
    index = MultiIndex.build(codes, 64)
    near = index.search(codes[:8], radius=1)
    far = index.search(codes[:8], radius=30)
    assert not near.given_up.any()
    assert [pairs(near, query)[0] for query in range(8)] == [(0, row) for row in range(8)]
    assert far.given_up.all()
    assert far.offsets.tolist() == [0] * 9
    assert index.search(codes[:1], radius=0, budget=0).given_up.all()


def test_only_expensive_queries_of_a_batch_are_given_up() -> None:
    codes = random_codes(0, 20_000, 64)
    codes[5000:10_000] = codes[0]  # a query near these must read 5,000 codes
    index = MultiIndex.build(codes, 64)
    order = [1, 2, 0, 3, 7000, 4]
    found = index.search(codes[order], radius=2, budget=0.1)
    assert found.given_up.tolist() == [False, False, True, False, True, False]
    assert [pairs(found, query) for query in (0, 1, 3, 5)] == [[(0, row)] for row in (1, 2, 3, 4)]


def test_a_batch_that_mostly_gives_up_is_given_up_early() -> None:
    codes = random_codes(0, 20_000, 64)
    index = MultiIndex.build(codes, 64)
    run = functools.partial(
        index._run,
        kept=read_only(np.empty(0, np.uint8)),
        radius=64,
        limit=5,
        budget=3_000_000,
    )
    spent = run(random_codes(1, 200, 64)).spent
    assert (spent[:16] > 0).all()
    assert not spent[16:].any()


def test_the_prediction_follows_radius_rows_and_crowding() -> None:
    codes = random_codes(0, 50_000, 64)
    index = MultiIndex.build(codes, 64)
    costs = [index.relative_cost(100, radius=radius) for radius in range(20)]
    assert costs == sorted(costs)
    assert costs[0] < 1 < costs[-1]
    assert index.predicts_gain(100, radius=1)
    assert not index.predicts_gain(100, radius=20)
    small = MultiIndex.build(codes[:500], 64)
    assert small.relative_cost(100, radius=1) > index.relative_cost(100, radius=1)
    crowded = MultiIndex.build(crowded_codes(0, 50_000, 64, 3), 64)
    assert crowded.relative_cost(100, radius=1) > 10 * index.relative_cost(100, radius=1)
    assert index.relative_cost(0, radius=1) == index.relative_cost(1, top_k=0) == 0


def test_the_prediction_for_top_k_follows_the_costs_measured_by_build() -> None:
    spread = MultiIndex.build(random_codes(0, 50_000, 64), 64)
    paired = random_codes(0, 50_000, 64)
    paired[25_000:] = paired[:25_000]
    paired = MultiIndex.build(paired, 64)
    assert not spread.predicts_gain(100, top_k=1)
    assert paired.predicts_gain(100, top_k=1)
    assert not paired.predicts_gain(100, top_k=1000)
    assert not paired.predicts_gain(100, top_k=5000)
    # Within a radius, the cheaper of the two limits decides.
    assert paired.relative_cost(100, top_k=5000, radius=1) == paired.relative_cost(100, radius=1)


# Splitting and building


def test_substrings_add_up_to_the_code() -> None:
    sizes = [0, 1, 1000, 10**6, 10**7, 10**9]
    for n_bits, n_rows in itertools.product([1, 7, 12, 48, 64, 128, 1000], sizes):
        lengths = cut_bits(n_bits, n_rows)
        assert sum(lengths) == n_bits, n_rows
        assert 0 <= max(lengths) - min(lengths) <= 1, (n_bits, n_rows)
        assert list(lengths) == sorted(lengths, reverse=True), (n_bits, n_rows)
        assert 1 <= min(lengths) <= max(lengths) <= 24, (n_bits, n_rows)


def test_the_number_of_tables_grows_as_the_database_shrinks() -> None:
    assert len(cut_bits(64, 10**7)) == 3
    assert len(cut_bits(64, 10**6)) == 4
    assert cut_bits(64, 10**7, n_tables=5) == (13, 13, 13, 13, 12)
    for n_tables in (0, 2, 65):
        with pytest.raises(ConfigError, match=f"`n_tables` must be 3 to 64 .* not {n_tables}"):
            cut_bits(64, 100, n_tables=n_tables)


def test_tables_hold_each_row_once_in_the_bucket_of_its_substring() -> None:
    codes = crowded_codes(0, 500, 29, 9)
    index = MultiIndex.build(codes, 29, n_tables=3)
    tables, bits = index._tables, unpack(codes, 29)
    assert (index.n_rows, index.n_tables, index.substring_lengths) == (500, 3, (10, 10, 9))
    first_bit = start = 0
    for table, length in enumerate(index.substring_lengths):
        values = bits[:, first_bit : first_bit + length] @ (1 << np.arange(length)[::-1])
        offsets = tables.offsets[start : start + (1 << length) + 1]
        counts = np.bincount(values, minlength=1 << length)
        np.testing.assert_array_equal(np.diff(offsets), counts)
        own_rows = tables.rows[table * 500 : (table + 1) * 500]
        np.testing.assert_array_equal(own_rows, np.argsort(values, kind="stable"))
        assert index.crowding[table] == pytest.approx(counts[values].mean())
        first_bit, start = first_bit + length, start + (1 << length) + 1


def test_progress_counts_two_passes_per_table() -> None:
    codes, calls = random_codes(0, 3000, 32), []
    MultiIndex.build(
        codes, 32, n_tables=4, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (24_000, 24_000)
    assert calls == sorted(calls)
    assert len(calls) == 8


@pytest.mark.end_to_end
def test_no_byte_after_the_codes_and_sketches_is_read(tmp_path: Path) -> None:
    """Codes and sketches fill their pages to the last byte; the next page must not be touched."""
    script = """
import ctypes, dataclasses, math, mmap
import numpy as np
from hashkit.multi_index.index import MultiIndex
from hashkit.kernels.arrays import read_only

libc = ctypes.CDLL(None, use_errno=True)

def guarded(array):
    pages = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert libc.mprotect(ctypes.c_void_p(address + pages), mmap.PAGESIZE, 0) == 0
    moved = np.frombuffer(memory, array.dtype, array.size, pages - array.nbytes)
    moved = moved.reshape(array.shape)
    moved[:] = array
    return moved

for size in (3, 8, 13):
    codes = guarded(np.random.default_rng(0).integers(0, 256, (300, size), dtype=np.uint8))
    index = MultiIndex.build(codes, 8 * size)
    sketches = read_only(guarded(index._tables.sketches))
    index = dataclasses.replace(index, _tables=index._tables._replace(sketches=sketches))
    found = index.search(codes, radius=index.n_tables, budget=math.inf)
    assert set(range(300)) <= set(found.rows.tolist())
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs mprotect")
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, timeout=120)


# Refused arguments


@looped(
    ("arguments", "message"),
    [
        ({}, "`top_k` or `radius`"),
        ({"top_k": -1}, "`top_k` must be 0 or more"),
        ({"radius": -1}, "`radius` must be 0 or more"),
        ({"radius": 1, "budget": -0.5}, "`budget` must be 0 or more"),
        ({"radius": 1, "budget": math.nan}, "`budget` must be a number, not nan"),
        ({"radius": 1, "n_threads": 0}, "`n_threads` must be at least 1"),
        ({"radius": 1, "kept": np.ones(4, np.bool_)}, r"`kept` must be bool or uint8 \[5\]"),
        ({"radius": 1, "kept": np.ones(5)}, "not float64"),
    ],
)
def test_invalid_searches_are_refused(arguments: dict[str, Any], message: str) -> None:
    codes = random_codes(0, 5, 16)
    with pytest.raises(ConfigError, match=message):
        MultiIndex.build(codes, 16).search(codes, **arguments)


def test_codes_of_other_bits_are_refused() -> None:
    codes = random_codes(0, 5, 16)
    with pytest.raises(CodesError, match="database codes of 17 bits"):
        MultiIndex.build(codes, 17)
    with pytest.raises(CodesError, match="query codes of 16 bits"):
        MultiIndex.build(codes, 16).search(codes[:, :1], radius=1)


@pytest.mark.end_to_end
def test_importing_the_module_does_not_import_numba() -> None:
    code = "import sys, hashkit.multi_index.index; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
