"""Time exact search against two numpy loops; run as a script, prints ratios.

python tests/benchmarks/bench_search.py [--rows 1000000] [--bits 64]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.index import search


def byte_loop(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], top_k: int
) -> NDArray[np.int64]:
    """What one writes in a notebook: xor, count and sort bytes, one query after the other."""
    rows = []
    for query in queries:
        distances = np.bitwise_count(database ^ query).sum(axis=1)
        rows.append(np.argsort(distances, kind="stable")[:top_k])
    return np.array(rows)


def word_loop(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], top_k: int
) -> NDArray[np.int64]:
    """The same with care: words of 8 bytes, and a radix sort of one byte a row."""
    words = database.view(np.uint64)
    rows = []
    for query in queries.view(np.uint64):
        distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint8)
        rows.append(np.argsort(distances, kind="stable")[:top_k])
    return np.array(rows)


def seconds(task: Callable[[], Any], repeats: int) -> float:
    """Shortest of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.bits % 64 or options.bits > 192:
        parser.error("--bits must be 64, 128 or 192: the word loop knows no others")
    rng = np.random.default_rng(0)
    size = code_size(options.bits)
    database = rng.integers(0, 256, (options.rows, size), dtype=np.uint8)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"numpy {np.__version__}; {options.rows:,} rows of {options.bits} bits")
    for n_queries in (1, 64):
        queries = rng.integers(0, 256, (n_queries, size), dtype=np.uint8)
        for top_k in (10, 1000):
            compare(queries, database, top_k, options.bits, options.repeats)


def compare(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], top_k: int, n_bits: int, repeats: int
) -> None:
    """Check that all three agree, and print how long each takes for one query."""
    sample = queries[:4]  # a loop takes as long for each query
    expected = byte_loop(sample, database, top_k)
    np.testing.assert_array_equal(word_loop(sample, database, top_k), expected)
    found = search(queries, database, top_k=top_k, n_bits=n_bits)
    np.testing.assert_array_equal(found.rows[:4], expected)
    by_bytes = seconds(lambda: byte_loop(sample, database, top_k), repeats) / len(sample)
    by_words = seconds(lambda: word_loop(sample, database, top_k), repeats) / len(sample)
    each = seconds(lambda: search(queries, database, top_k=top_k, n_bits=n_bits), repeats)
    each /= len(queries)
    print(
        f"{len(queries):3} queries, top {top_k:4}: {each * 1e3:6.2f} ms a query; as fast as the "
        f"byte loop {by_bytes / each:5.1f} times, the word loop {by_words / each:5.1f} times"
    )


if __name__ == "__main__":
    main()
