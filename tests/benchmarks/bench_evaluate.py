"""Time an evaluation against a sort for each query; run as a script, prints ratios.

python tests/benchmarks/bench_evaluate.py [--queries 1000] [--rows 59000] [--bits 48]
    the loop of most training repositories, `expected_map` and `evaluate`, with their memory
python tests/benchmarks/bench_evaluate.py --large
    10,000 queries x 50,000 rows, the loop timed on 200 of the queries
python tests/benchmarks/bench_evaluate.py --stream [--queries 1000]
    queries x 10,000,000 rows that lie in a file
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeSet
from hashkit.evaluation.evaluator import evaluate, expected_map
from hashkit.machine import processor

STREAM_ROWS = 10_000_000


def noisy_codes(seed: int, n_rows: int, n_bits: int) -> CodeSet:
    """Codes of ten classes: each row is the code of its class with three bits in ten flipped."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 2, (10, n_bits), dtype=np.uint8)
    labels = rng.integers(0, 10, n_rows, dtype=np.int32)
    flips = rng.random((n_rows, n_bits), dtype=np.float32) < 0.3
    return CodeSet(pack(centres[labels] ^ flips), n_bits, labels)


def usual_map(query: CodeSet, database: CodeSet) -> float:
    """What most training repositories do: product of signs, unstable sort, ranks of the hits."""
    assert query.labels is not None
    assert database.labels is not None
    signs: NDArray[np.float64] = 2.0 * unpack(database.codes, database.n_bits) - 1
    query_signs: NDArray[np.float64] = 2.0 * unpack(query.codes, query.n_bits) - 1
    precisions = []
    for sign, label in zip(query_signs, query.labels, strict=True):
        distances = 0.5 * (query.n_bits - signs @ sign)
        relevant = database.labels[np.argsort(distances)] == label
        ranks = np.flatnonzero(relevant) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


def seconds(task: Callable[[], Any], n_times: int = 1) -> float:
    """The shortest of several times."""
    times = []
    for _ in range(n_times):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib(task: Callable[[], Any]) -> float:
    """The most memory that NumPy arrays took during the task, in MiB."""
    tracemalloc.start()
    task()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 2**20


def compare(query: CodeSet, database: CodeSet, n_usual: int) -> None:
    """Times of all three; that of the loop is measured on the first ``n_usual`` queries."""
    assert query.labels is not None
    some = CodeSet(query.codes[:n_usual], query.n_bits, query.labels[:n_usual])
    whole = evaluate(query, database)  # compiled, or loaded, before anything is timed
    report = evaluate(some, database)
    assert report.map_worst <= usual_map(some, database) <= report.map_best
    np.testing.assert_allclose(expected_map(query, database), whole.map, rtol=0, atol=1e-12)
    usual = seconds(lambda: usual_map(some, database)) * len(query) / len(some)
    share = "" if n_usual >= len(query) else f", from {n_usual} queries"
    print(f"a sort for each query: {usual:7.3f} s, one mAP{share}")
    for what, task in (
        ("expected_map, one mAP", lambda: expected_map(query, database)),
        ("evaluate, all numbers", lambda: evaluate(query, database)),
    ):
        took = seconds(task, n_times=5)
        print(f"{what}: {took:7.3f} s, {usual / took:5.0f} times as fast", end="")
        print(f", {len(query) * len(database) / took / 1e9:.2f} G pairs/s", end="")
        print(f", peak {peak_mib(task):.0f} MiB")


def stream(query: CodeSet, n_bits: int) -> None:
    """Time a database that is read from files, with the memory that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        size = (n_bits + 7) // 8
        codes_path, labels_path = Path(folder) / "codes", Path(folder) / "labels"
        with codes_path.open("wb") as codes_file, labels_path.open("wb") as labels_file:
            for seed in range(10):
                part = noisy_codes(seed + 2, STREAM_ROWS // 10, n_bits)
                assert part.labels is not None
                part.codes.tofile(codes_file)
                part.labels.tofile(labels_file)
        codes = np.memmap(codes_path, np.uint8, "r", shape=(STREAM_ROWS, size))
        labels = np.memmap(labels_path, np.int32, "r")
        database = CodeSet(codes, n_bits, labels)
        assert query.labels is not None
        one = CodeSet(query.codes[:1], n_bits, query.labels[:1])
        expected_map(one, database)
        print(f"codes and labels: {(codes.nbytes + labels.nbytes) / 2**20:.0f} MiB in files")
        for what, queries in (("1 query", one), (f"{len(query):,} queries", query)):
            task = functools.partial(expected_map, queries, database)
            took, peak = seconds(task), peak_mib(task)
            rate = len(queries) * STREAM_ROWS / took / 1e9
            print(f"expected_map, {what}: {took:7.3f} s, {rate:.2f} G pairs/s, peak {peak:.0f} MiB")
        took = seconds(lambda: evaluate(one, database))
        peak = peak_mib(lambda: evaluate(one, database))
        print(f"evaluate, 1 query: {took:7.3f} s, peak {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=59_000)
    parser.add_argument("--bits", type=int, default=48)
    parser.add_argument("--large", action="store_true", help="10,000 queries x 50,000 rows")
    parser.add_argument("--stream", action="store_true", help="rows: 10,000,000, in a file")
    options = parser.parse_args()
    if options.large:
        options.queries, options.rows = 10_000, 50_000
    query = noisy_codes(1, options.queries, options.bits)
    print(f"{processor()}, {os.cpu_count()} cores, ", end="")
    print(f"numpy {np.__version__}; {options.queries:,} queries, {options.bits} bits")
    if options.stream:
        stream(query, options.bits)
        return
    print(f"{options.rows:,} rows")
    compare(query, noisy_codes(2, options.rows, options.bits), min(options.queries, 200))


if __name__ == "__main__":
    main()
