"""Time the multi-index against hashkit's linear scan of the same queries; prints ratios.

python tests/benchmarks/bench_multi_index.py [--rows 1000000,10000000] [--bits 64,128]

For every number of bits and rows and three kinds of codes, an index is built, and the same queries
are answered with it and by a scan, in a batch and one at a time. Times are of the whole search,
including scans of given-up queries. The results must be equal. At the end, the parts of a search
are timed, which gives the constants of `hashkit.multi_index.costs` for this machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.kernels.arrays import read_only
from hashkit.machine import processor
from hashkit.multi_index.costs import COSTS
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.search import search
from hashkit.threads import available_cpus

Codes = NDArray[np.uint8]
SEARCHES: tuple[dict[str, int], ...] = (
    *({"radius": radius} for radius in (0, 1, 2, 4, 8)),
    *({"top_k": top_k} for top_k in (1, 10, 100)),
)


def uniform(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    """Random codes without near pairs."""
    return rng.integers(0, 256, (n_rows, code_size(n_bits)), dtype=np.uint8)


def duplicates(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    """Random codes, each with about 20 copies with one or two bits flipped."""
    originals = uniform(rng, n_rows // 20, n_bits)
    codes = originals[rng.integers(0, len(originals), n_rows)]
    return flipped(rng, flipped(rng, codes))


def clustered(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
    """Copies of a thousand centres with one bit in twenty flipped."""
    centres = uniform(rng, 1000, n_bits)
    codes = centres[rng.integers(0, len(centres), n_rows)]
    for _ in range(n_bits // 20):
        codes = flipped(rng, codes)
    return codes


KINDS = {"uniform": uniform, "duplicates": duplicates, "clustered": clustered}


def flipped(rng: np.random.Generator, codes: Codes) -> Codes:
    """Flip one random bit of each code."""
    codes = codes.copy()
    bits = rng.integers(0, codes.shape[1] * 8, len(codes))
    codes[np.arange(len(codes)), bits // 8] ^= (128 >> (bits % 8)).astype(np.uint8)
    return codes


def seconds(task: Callable[[], Any], repeats: int = 5, long_enough: float = 0.5) -> float:
    """Shortest of several runs, in seconds of this thread's CPU time; fewer if they take long.

    Everything that is compared runs in this thread, and CPU time depends less on other load.
    """
    times: list[float] = []
    while len(times) < repeats and sum(times) < long_enough:
        start = time.thread_time()
        task()
        times.append(time.thread_time() - start)
    return min(times)


def seconds_each(task: Callable[[Codes], Any], queries: Codes) -> float:
    """Seconds per query when queries are searched one at a time."""

    def one_by_one() -> None:
        for query in range(len(queries)):
            task(queries[query : query + 1])

    return seconds(one_by_one, 3) / len(queries)


def compare(index: MultiIndex, codes: Codes, queries: Codes, wanted: dict[str, int]) -> None:
    """Print the time per query with the index and with the scan."""
    few = queries[:64]

    def by_index(some: Codes) -> Any:
        return search(
            some, codes, n_bits=index.n_bits, engine="index", index=index, n_threads=1, **wanted
        )

    def by_scan(some: Codes) -> Any:
        return search(some, codes, n_bits=index.n_bits, engine="scan", n_threads=1, **wanted)

    np.testing.assert_array_equal(by_index(few).rows, by_scan(few).rows)
    batch = seconds(lambda: by_index(queries)) / len(queries)
    scan_batch = seconds(lambda: by_scan(few)) / len(few)
    single = seconds_each(by_index, few[:20])
    scan_single = seconds_each(by_scan, few[:20])
    given_up = index.search(queries, n_threads=1, **wanted).given_up.mean()
    name = " ".join(f"{key} {value}" for key, value in wanted.items())
    auto = "index" if index.predicts_gain(len(queries), **wanted) else "scan"
    print(
        f"  {name:10} batch {batch * 1e6:9.2f} us per query, scan {scan_batch * 1e6:9.1f}, "
        f"{scan_batch / batch:7.1f} times; single {single * 1e6:9.1f}, scan "
        f"{scan_single * 1e6:9.1f}, {scan_single / single:6.1f} times; "
        f"{given_up:4.0%} given up; auto: {auto}",
        flush=True,
    )


def parts(index: MultiIndex, queries: Codes, radius: int) -> tuple[NDArray[np.float64], float]:
    """Numbers of queries, probes, entries and codes read of a batch; and its seconds."""
    from hashkit.kernels.bucket_search import search_tables

    none = read_only(np.empty(0, np.uint8))

    def run(costs: tuple[int, int, int]) -> Any:
        limits = (radius, index.n_rows, 1 << 62)
        return search_tables(index._tables, read_only(queries), none, *limits, costs)

    counts = [run(costs)[2].sum() for costs in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    return np.array([len(queries), *counts], float), seconds(lambda: run((0, 0, 0)))


def measure_costs(n_rows: int, n_bits: int, rng: np.random.Generator) -> None:
    """Print the cost constants that best explain the times of searches, and those of scans."""
    work, times = [], []
    for kind in KINDS.values():
        codes = kind(rng, n_rows, n_bits)
        queries = flipped(rng, codes[rng.integers(0, n_rows, 200)])
        for n_tables in (3, 4):
            index = MultiIndex.build(codes, n_bits, n_tables=n_tables)
            for radius in range(0, 10, 2):
                done, took = parts(index, queries, radius)
                work.append(done)
                times.append(took)
    weights = 1 / np.array(times)[:, None]
    fitted, *_ = np.linalg.lstsq(np.array(work) * weights, np.ones(len(work)), rcond=None)
    explained = np.array(work) @ fitted / np.array(times)
    n_words = n_rows * n_bits / 64
    many = uniform(rng, 64, n_bits)
    options: dict[str, Any] = {"n_bits": n_bits, "engine": "scan", "n_threads": 1, "top_k": 10}
    batch = seconds(lambda: search(many, codes, **options)) / (64 * n_words)
    single = seconds(lambda: search(many[:1], codes, **options)) / n_words
    print(f"costs at {n_rows:,} rows of {n_bits} bits, in picoseconds (those in use):")
    names = ("query", "probe", "entry", "code")
    measured = dict(zip(names, fitted, strict=True))
    measured |= {"scan_word": batch, "stream_word": single - batch}
    for name, value in measured.items():
        print(f"  {name:12} {value * 1e12:10.0f} ({getattr(COSTS, name)})")
    low, high = np.quantile(explained, [0.1, 0.9])
    print(f"  they explain the times within a factor of {low:.2f} to {high:.2f} (8 in 10 of them)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="1000000,10000000")
    parser.add_argument("--bits", default="64,128")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    print(
        f"{processor()}, {available_cpus()} CPUs, searches on one; "
        f"numpy {np.__version__}, numba {numba.__version__}"
    )
    rng = np.random.default_rng(0)
    for n_rows in map(int, options.rows.split(",")):
        for n_bits in map(int, options.bits.split(",")):
            for kind in options.kinds.split(","):
                codes = KINDS[kind](rng, n_rows, n_bits)
                queries = flipped(rng, codes[rng.integers(0, n_rows, options.queries)])
                queries = flipped(rng, queries)
                start = time.perf_counter()
                index = MultiIndex.build(codes, n_bits)
                took = time.perf_counter() - start
                print(
                    f"{n_rows:,} {kind} codes of {n_bits} bits: built in {took:.1f} s, "
                    f"{index.n_tables} tables of {index.nbytes / n_rows:.0f} bytes per row; "
                    f"crowding {max(index.crowding):.0f}"
                )
                for wanted in SEARCHES:
                    compare(index, codes, queries, wanted)
    measure_costs(max(map(int, options.rows.split(","))), 64, rng)


if __name__ == "__main__":
    main()
