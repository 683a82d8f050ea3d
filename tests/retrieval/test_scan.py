"""The compiled scans, compared with a sort of all distances."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from codes_samples import Codes, clustered, entries, sorted_rows, uniform
from looped import looped
from numpy.typing import NDArray

from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError
from hashkit.kernels import widths
from hashkit.kernels.cpu import LANES
from hashkit.kernels.scan import BLOCK_BYTES
from hashkit.kernels.vectors import ITERATION_ROWS
from hashkit.retrieval.loading import KERNELS
from hashkit.retrieval.sampling import planned
from hashkit.retrieval.scan_compiled import run_each_kernel, scan_compiled
from hashkit.retrieval.scan_job import slices
from hashkit.retrieval.scan_numpy import scan_numpy
from hashkit.retrieval.search import search
from hashkit.retrieval.shards import Shards

BITS = [1, 7, 8, 12, 16, 24, 31, 32, 40, 48, 63, 64, 65, 96, 127, 128, 192, 255, 256, 511, 1024]
ROWS = [1, 64, 65, 257, 600]


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


@looped("n_bits", BITS)
def test_every_kernel_gives_the_first_of_the_sorted_rows(n_bits: int) -> None:
    """Half of the lengths are tested with codes that have many ties."""
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
                n_threads = 1 if (n_queries + top_k) % 2 else 3
                radii = [n_bits] * n_queries
                check(queries, shards, database, everything, top_k, radii, n_threads)
            radii = rng.integers(0, n_bits + 1, n_queries).tolist()
            check(queries, shards, database, everything, n_rows, radii, 2)


@pytest.mark.parametrize("kernel", ["rows", "planes", "counts"])
def test_the_kernel_that_is_asked_for_gives_the_first_of_the_sorted_rows(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every length of the last word, several blocks, and more queries than are compared at once."""
    monkeypatch.setattr(widths, "_forced", kernel)
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
    monkeypatch.setattr(widths, "_forced", "fast")
    with pytest.raises(
        ConfigError, match=r"rows, planes or counts .*64 bits, found 'fast': correct"
    ):
        scan_compiled(codes[:3], shards, 1, np.full(3, 64), 1)
    with pytest.raises(ConfigError, match="found 'fast'"):  # too small a search to need kernels
        search(codes[:1], codes, top_k=1, n_bits=64)
    with pytest.raises(ConfigError, match="found 'fast'"):
        KERNELS.load(64)


OTHER_VECTORS = """
import sys
import numpy as np
from hashkit.kernels import widths
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
    for widths._forced in ("planes", "counts"):
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


@looped("size", [1, 2, 4, 5, 8, 12, 16, 32])
def test_a_near_row_is_found_at_each_place_among_far_ones(size: int) -> None:
    n_rows = 2 * ITERATION_ROWS[size] + 3
    query = np.full((1, size), 0x5A, np.uint8)
    for row in range(n_rows):
        database = np.repeat(~query, n_rows, axis=0)
        database[row] = query
        found = scan_compiled(query, Shards.of(database, 8 * size), n_rows, np.zeros(1, np.int64))
        assert found.rows.tolist() == [row]


def test_near_rows_at_the_ends_of_blocks_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widths, "_forced", "rows")
    for size in (12, 16):
        block = BLOCK_BYTES // size + 1
        places = np.array([0, block - 1, block, 2 * block - 1, 2 * block, 2 * block + 9])
        database = np.zeros((2 * block + 10, size), np.uint8)
        queries = np.arange(1, 4, dtype=np.uint8).repeat(size).reshape(3, size)
        database[places] = queries.repeat(2, axis=0)
        shards, radii = Shards.of(database, 8 * size), np.zeros(3, np.int64)
        for n_threads in (1, 2):
            found = scan_compiled(queries, shards, 3, radii, n_threads)
            assert found.offsets.tolist() == [0, 2, 4, 6]
            assert found.rows.tolist() == places.tolist()


def test_more_rows_within_a_radius_than_the_first_capacity() -> None:
    rng = np.random.default_rng(3)
    database = uniform(rng, 40_000, 16)
    queries = uniform(rng, 4, 16)
    queries[1] = queries[0]
    shards = Shards.of(database, 16)
    everything = np.ones(len(database), dtype=np.bool_)
    # The second and the last query have thousands of rows within their radius, the others few.
    check(queries, shards, database, everything, len(database), [2, 8, 1, 9], 2)


@pytest.mark.parametrize(("n_queries", "top_k"), [(23, 10), (4, 3)])  # split by query, by row
def test_threads_and_groups_that_fit_into_memory_change_no_result(
    n_queries: int, top_k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(4)
    database, queries = uniform(rng, 2000, 32), uniform(rng, n_queries, 32)
    whole = search(queries, database, top_k=top_k, n_bits=32)
    monkeypatch.setattr("hashkit.retrieval.selecting._CANDIDATE_BYTES", 20_000)
    monkeypatch.setattr("hashkit.retrieval.scan_job.PAIRS_PER_CALL", 999)
    monkeypatch.setattr("hashkit.retrieval.scan_compiled._PARALLEL_TIME", 1)
    shards = Shards.of(database, 32)
    pieces = scan_compiled(queries, shards, top_k, np.full(n_queries, 32), 2)
    np.testing.assert_array_equal(pieces.rows.reshape(n_queries, top_k), whole.rows)


def test_the_first_part_may_be_longer_by_at_most_half_of_all_rows() -> None:
    assert slices(10, 2, 5) == [slice(5, 10), slice(10, 15)]
    assert slices(11, 3, 5, ahead=2) == [slice(5, 10), slice(10, 13), slice(13, 16)]
    assert slices(10, 2, ahead=99) == [slice(0, 7), slice(7, 10)]
    assert slices(10, 1, ahead=99) == [slice(0, 10)]


@pytest.mark.parametrize("kernel", ["planes", "counts"])
def test_guesses_from_a_sample_change_no_result(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths, "_forced", kernel)
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


def test_codes_too_long_for_bit_planes_are_searched() -> None:
    assert len(list(run_each_kernel(2_400))) >= 4
    codes = np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8)
    shards = Shards.of(codes, 2_400)
    radii = np.full(4, 2_400)
    found = scan_compiled(codes[:4], shards, 5, radii, 2)
    expected = scan_numpy(codes[:4], shards, 5, radii)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)
