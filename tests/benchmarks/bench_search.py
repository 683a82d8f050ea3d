"""Time exact search against Faiss, USearch, NumKong and NumPy, on the same threads; prints ratios.

python tests/benchmarks/bench_search.py [--rows 100000,1000000,10000000] [--bits 12,48,64]

For every number of bits, rows, queries and k, on uniform codes and on clustered ones with many
ties, each program searches the same codes for the same queries, and the shortest of several runs is
used. A ratio is the other program's time divided by hashkit's. The results are compared too: all
distances, and the row numbers of every query that Faiss orders by (distance, row). Codes of 12 bits
are padded to 16 for Faiss, which needs multiples of 8. USearch and NumPy, which take minutes where
the others take seconds, are timed only on the smaller cells.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numba
import numkong
import numpy as np
from numpy.typing import NDArray
from usearch.index import MetricKind
from usearch.index import search as usearch_exact

from hashkit.codes import code_size, pack
from hashkit.codesets import CodeSet
from hashkit.kernels.bits import popcount
from hashkit.machine import processor
from hashkit.retrieval.neighbours import Ranking
from hashkit.retrieval.search import search
from hashkit.threads import available_cpus, run_parallel
from hashkit.workflow.warm_up import warm_up

Codes = NDArray[np.uint8]
SMALL_PAIRS = 20_000_000  # rows times queries up to which the slow programs are timed
SHORT_ENOUGH = 0.05  # total seconds of a program in a cell below which more runs are made
LONG_ENOUGH = 1.0  # total seconds above which no more runs are made


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination of settings, the seconds of each program, and the queries compared."""

    bits: int
    rows: int
    queries: int
    k: int
    kind: str
    seconds: dict[str, float]
    n_compared: int

    def ratio(self, other: str) -> float:
        return self.seconds[other] / self.seconds["hashkit"]


def codes_of(kind: str, n_rows: int, n_bits: int, seed: int) -> Codes:
    """Random codes: ``uniform``, or ``clustered`` around 100 centres with one bit in 20 flipped."""
    rng = np.random.default_rng(seed)
    size = code_size(n_bits)
    tail = np.uint8(0xFF << (-n_bits % 8) & 0xFF)
    if kind == "uniform":
        codes = rng.integers(0, 256, (n_rows, size), dtype=np.uint8)
        codes[:, -1] &= tail
        return codes
    centres = pack(np.random.default_rng(0).integers(0, 2, (100, n_bits)))
    codes = centres[rng.integers(0, 100, n_rows)]
    # Only 4,096 patterns of flips are used, so that there are duplicates, as in real codes.
    flips = pack((rng.random((4096, n_bits)) < 0.05).astype(np.uint8))
    codes ^= flips[rng.integers(0, 4096, n_rows)]
    return codes


def timed(task: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Seconds of the shortest of several runs of a task, and the result of the first.

    The runs of a task are consecutive: after a search, the threads of some programs keep their
    cores busy for a while, which would slow down another program.
    """
    time.sleep(0.01)
    times: list[float] = []
    result = None
    while len(times) < repeats or (sum(times) < SHORT_ENOUGH and len(times) < 20 * repeats):
        start = time.perf_counter()
        found = task()
        times.append(time.perf_counter() - start)
        result = found if result is None else result
        if sum(times) > LONG_ENOUGH:
            break
    return min(times), result


def by_numpy(queries: Codes, database: Codes, k: int) -> NDArray[np.int64]:
    """A careful NumPy search: machine words, one query after the other, and a stable sort."""
    size = database.shape[1]
    word = next(w for w in (8, 4, 2, 1) if size % w == 0)
    words, rows = database.view(f"u{word}"), []
    for query in queries.view(f"u{word}"):
        distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint16)
        rows.append(np.argsort(distances, kind="stable")[:k])
    return np.array(rows)


def by_numkong(queries: Codes, parts: list[Any], out: list[Any]) -> None:
    """All distances of each part of a database, which NumKong has packed, in a thread each."""
    run_parallel(
        [
            partial(numkong.hammings_packed, queries, part, out=own)
            for part, own in zip(parts, out, strict=True)
        ]
    )


def compare(found: Ranking, distances: NDArray[Any], rows: NDArray[Any]) -> int:
    """Number of queries whose rows could be compared; raises an error if results differ."""
    np.testing.assert_array_equal(found.distances, distances)
    n_rows = 1 << 40
    is_ordered = (np.diff(distances.astype(np.int64) * n_rows + rows, axis=1) > 0).all(axis=1)
    np.testing.assert_array_equal(found.rows[is_ordered], rows[is_ordered])
    return int(np.count_nonzero(is_ordered))


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    n_most = max(options.queries)
    for bits in options.bits:
        for kind in options.kinds:
            for n_rows in options.rows:
                database = codes_of(kind, n_rows, bits, 1)
                index = faiss.IndexBinaryFlat(8 * code_size(bits))
                index.add(database)
                all_queries = codes_of(kind, n_most, bits, 2)
                for n_queries in options.queries:
                    queries = all_queries[:n_queries]
                    for k in options.ks:
                        yield cell(queries, database, index, bits, k, kind, options.repeats)


def cell(
    queries: Codes, database: Codes, index: Any, bits: int, k: int, kind: str, repeats: int
) -> Cell:
    codes = CodeSet(database, bits)  # checked once, before timing, as Faiss's index is made before
    tasks: dict[str, Callable[[], Any]] = {
        "hashkit": lambda: search(queries, codes, top_k=k),
        "faiss": lambda: index.search(queries, k),
    }
    if len(queries) * len(database) <= SMALL_PAIRS:
        tasks["numpy"] = lambda: by_numpy(queries, database, k)
        tasks["usearch"] = lambda: usearch_exact(
            database, queries, k, MetricKind.Hamming, exact=True, threads=available_cpus()
        )
        pieces = np.array_split(database, available_cpus())
        parts = [numkong.hammings_pack(piece) for piece in pieces]
        out = [numkong.zeros((len(queries), len(piece)), dtype="uint32") for piece in pieces]
        tasks["numkong"] = lambda: by_numkong(queries, parts, out)
    timings = {name: timed(task, repeats) for name, task in tasks.items()}
    n_compared = compare(timings["hashkit"][1], *timings["faiss"][1])
    seconds = {name: best for name, (best, _) in timings.items()}
    return Cell(bits, len(database), len(queries), k, kind, seconds, n_compared)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


# The machine's limits


@numba.njit(nogil=True)
def count_bits(words: NDArray[np.uint64], n_passes: int) -> int:
    """Count the differing bits between words and a query, which changes in each pass."""
    total = np.uint64(0)
    for number in range(n_passes):
        query = np.uint64(number)
        for index in range(words.shape[0]):
            total += popcount(words[index] ^ query)
    return total


def words_per_second(n_words: int, n_passes: int, n_threads: int) -> float:
    """64-bit words per second that all threads compare, each ``n_passes`` times over its own."""
    words = [np.ones(n_words, dtype=np.uint64) for _ in range(n_threads)]
    count_bits(words[0][:8], 1)
    best = math.inf
    for _ in range(3):
        start = time.perf_counter()
        run_parallel([partial(count_bits, own, n_passes) for own in words])
        best = min(best, time.perf_counter() - start)
    return n_threads * n_words * n_passes / best


def limits(found: list[Cell], n_threads: int) -> None:
    """Print the fraction of memory bandwidth and of population counts that searches reach."""
    bandwidth = 8 * words_per_second(1 << 27, 1, n_threads)  # 1 GiB per thread
    counting = words_per_second(2048, 20_000, n_threads)  # fits a level-1 cache
    print(f"\nmemory read: {bandwidth / 1e9:.1f} GB/s; ", end="")
    print(f"population counts of 64-bit words in a level-1 cache: {counting / 1e9:.1f} G/s")
    largest = max(one.rows for one in found)
    for bits in sorted({one.bits for one in found}):
        mine = [one for one in found if one.bits == bits and one.rows == largest]
        single = [one.seconds["hashkit"] for one in mine if one.queries == 1]
        if single:
            share = largest * code_size(bits) / min(single) / bandwidth
            print(f"  {bits:4} bits, one query: {share:4.0%} of the memory bandwidth", end="")
        most = max(one.queries for one in mine)
        batch = [one.seconds["hashkit"] for one in mine if one.queries == most]
        rate = most * largest * -(-bits // 64) / min(batch)
        print(f"; {most} queries: {rate / counting:4.0%} of the population counts")


def report(found: list[Cell]) -> None:
    for other in ("faiss", "usearch", "numkong", "numpy"):
        ratios = [one.ratio(other) for one in found if other in one.seconds]
        if ratios:
            print(
                f"{other}: {len(ratios)} cells, geometric mean {geometric_mean(ratios):.1f}, "
                f"minimum {min(ratios):.2f}, maximum {max(ratios):.0f}"
            )
    queries = sorted({one.queries for one in found})
    rows = sorted({one.rows for one in found})
    print("\nFaiss's time / hashkit's: geometric mean over k and kinds of codes (minimum)\n")
    header = [f"{n:,} x {q}" for n in rows for q in queries]
    print("| bits | " + " | ".join(header) + " |")
    print("|---:" * (1 + len(header)) + "|")
    for bits in sorted({one.bits for one in found}):
        shown = []
        for n in rows:
            for q in queries:
                own = [
                    one.ratio("faiss")
                    for one in found
                    if (one.bits, one.rows, one.queries) == (bits, n, q)
                ]
                shown.append(f"{geometric_mean(own):.1f} ({min(own):.1f})")
        print(f"| {bits} | " + " | ".join(shown) + " |")
    compared = sum(one.n_compared for one in found)
    total = sum(one.queries for one in found)
    print(
        f"\nequal distances everywhere; row numbers equal for the {compared:,} of {total:,} ",
        end="",
    )
    print("queries that Faiss orders by (distance, row)")


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=numbers, default=[12, 32, 48, 64, 128, 256])
    parser.add_argument("--rows", type=numbers, default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--queries", type=numbers, default=[1, 16, 256])
    parser.add_argument("--ks", type=numbers, default=[1, 10, 100, 1000])
    parser.add_argument(
        "--kinds", type=lambda text: text.split(","), default=["uniform", "clustered"]
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every cell to this file")
    options = parser.parse_args()
    n_threads = available_cpus()
    faiss.omp_set_num_threads(n_threads)
    print(f"{processor()}, {n_threads} threads, ", end="")
    print(f"Faiss {faiss.__version__}, NumKong {numkong.__version__}, ", end="")
    print(f"numba {numba.__version__}, numpy {np.__version__}")
    warm_up()  # now, not in the first cells

    found = []
    for one in cells(options):
        found.append(one)
        times = ", ".join(f"{name} {1e3 * s:.3f}" for name, s in one.seconds.items())
        print(
            f"{one.bits:4} bits {one.rows:>10,} rows {one.queries:3} queries k {one.k:4} "
            f"{one.kind:9} {one.ratio('faiss'):6.2f}  ms: {times}",
            file=sys.stderr,
        )
    report(found)
    limits(found, n_threads)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(one) for one in found], indent=1))


if __name__ == "__main__":
    main()
