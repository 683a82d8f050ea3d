"""Compare search with a plain loop in C, compiled for this CPU, on the same threads; prints ratios.

python tests/benchmarks/bench_native.py [--bits 64,128,256] [--queries 16,256] [--ks 10,1000]

The loop of near_loop.c compares codes and counts those below each query's bound, the distance of
its k-th row, which it is given; it keeps no rows, so it is an upper bound for a search by
population counts. Rates are comparisons of a row with a query per second. Searches and loops
alternate, and the median is used. Needs gcc, clang or another C compiler as ``cc``, or ``CC``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeSet
from hashkit.kernels.cpu import HAS_VECTOR_COUNTS, LANES
from hashkit.kernels.widths import FORCED_BY
from hashkit.machine import processor
from hashkit.retrieval.loading import KERNELS
from hashkit.retrieval.search import search
from hashkit.threads import available_cpus, run_parallel

SOURCE = Path(__file__).with_name("near_loop.c")
TARGETS = {(256, 10): 0.85, (256, 1000): 0.6, (16, 10): 0.6}
"""Least ratio for a number of queries and k."""


def compiled_loop(folder: str) -> Callable[..., None]:
    """The loop as a function of addresses and numbers, without Python's lock."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("no C compiler found: install gcc or clang, or set CC")
    library = Path(folder, "near_loop.so")
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).count_near
    function.restype = None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [pointer, number, number, pointer, number, pointer, pointer]
    return function


def count_near(
    loop: Callable[..., None], codes: NDArray[Any], queries: NDArray[Any], bounds: NDArray[Any]
) -> NDArray[np.int64]:
    """Rows below each query's bound, by the loop, with separate queries in each thread."""
    n_threads = min(available_cpus(), len(queries) // 4)
    n_near = np.zeros(len(queries), np.int64)
    n_words = codes.shape[1] // 8
    tasks = []
    for part in range(n_threads):
        own = slice(*(len(queries) // 4 * edge // n_threads * 4 for edge in (part, part + 1)))
        compared = (codes.ctypes.data, len(codes), n_words)
        asked = (queries[own].ctypes.data, own.stop - own.start)
        counted = (bounds[own].ctypes.data, n_near[own].ctypes.data)
        tasks.append(partial(loop, *compared, *asked, *counted))
    run_parallel(tasks)
    return n_near


def seconds(task: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    task()
    return clock() - start


def compare(
    loop: Callable[..., None], bits: int, options: argparse.Namespace, n_queries: int, k: int
) -> None:
    """Print the rates of one cell."""
    n_rows = options.rows
    clock = time.process_time if options.cpu_time else time.perf_counter
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 256, (n_rows, bits // 8), np.uint8)
    queries = rng.integers(0, 256, (n_queries, bits // 8), np.uint8)
    database = CodeSet(codes, bits)
    KERNELS.load(bits)
    tasks: dict[str, Callable[[], Any]] = {
        "search": lambda: search(queries, database, top_k=k, n_threads=available_cpus())
    }
    found = tasks["search"]()
    if bits % 64 == 0:
        bounds = found.distances[:, -1].astype(np.int64)
        n_near = count_near(loop, codes, queries, bounds)
        np.testing.assert_array_equal(n_near, (found.distances < bounds[:, None]).sum(axis=1))
        tasks["loop"] = lambda: count_near(loop, codes, queries, bounds)
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(5):
        for name, task in tasks.items():
            times[name].append(seconds(task, clock))
    rates = {name: n_rows * n_queries / statistics.median(own) / 1e9 for name, own in times.items()}
    line = f"| {bits} | {n_queries} | {k} | {rates['search']:.1f} |"
    if "loop" in rates:
        ratio = statistics.median(
            other / own for own, other in zip(times["search"], times["loop"], strict=True)
        )
        wanted = TARGETS.get((n_queries, k))
        target = f"{wanted:.0%}" if wanted else ""
        line += f" {rates['loop']:.1f} | {ratio:.0%} | {target} |"
    else:
        line += " | | |"
    print(line, flush=True)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=numbers, default=[48, 64, 128, 256])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--queries", type=numbers, default=[16, 256])
    parser.add_argument("--ks", type=numbers, default=[10, 1000])
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="rates per second of CPU time, on a machine that does other work too",
    )
    options = parser.parse_args()
    vectors = (
        f"vectors of {64 * LANES} bits, {'with' if HAS_VECTOR_COUNTS else 'without'} VPOPCNTDQ"
    )
    print(f"{processor()}, {available_cpus()} threads, {vectors}")
    print(f"{options.rows:,} rows; 10^9 comparisons per second; {FORCED_BY}=", end="")
    print(os.environ.get(FORCED_BY, ""), "\n")
    print("| bits | queries | k | search | loop in C | ratio | target |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        loop = compiled_loop(folder)
        for bits in options.bits:
            for n_queries in options.queries:
                for k in options.ks:
                    compare(loop, bits, options, n_queries, k)


if __name__ == "__main__":
    main()
