"""Time single queries one after the other in a fresh process, with and without `hashkit.warm_up`.

    python tests/benchmarks/bench_latency.py [--queries N] [--rows N] [--bits B] [--pause MS]
    python tests/benchmarks/bench_latency.py --python [--rows N]

A service must not stall in use: compiled kernels are loaded, or compiled on a new machine,
before it says that it is ready, or in the background while NumPy answers. Prints the milliseconds
until the process is ready and the median, 99th percentile and longest call, for a process whose
kernels are kept on the disk, and with `--cold` also for one that must compile them.

`--python` prints how much CPU time of one call is spent around the kernel, for an array, a
code set and a bank.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hashkit


def measure(
    path: str, n_queries: int, top_k: int, pause: float, *, is_warm: bool
) -> dict[str, float]:
    """Times of single queries in this process, milliseconds."""
    started = time.perf_counter()
    bank = hashkit.Bank.open(path)
    if is_warm:
        hashkit.warm_up(bank)
    ready = time.perf_counter() - started
    queries = np.random.default_rng(1).integers(0, 256, (n_queries, bank.codes.shape[1]), np.uint8)
    seconds = np.empty(n_queries)
    for row in range(n_queries):
        begun = time.perf_counter()
        hashkit.search(queries[row : row + 1], bank, top_k=top_k)
        seconds[row] = time.perf_counter() - begun
        time.sleep(pause)
    return {
        "ready": 1000 * ready,
        "p50": 1000 * float(np.median(seconds)),
        "p99": 1000 * float(np.percentile(seconds, 99)),
        "longest": 1000 * float(seconds.max()),
        "at": int(seconds.argmax()),
    }


def measured_in_a_process(options: argparse.Namespace, folder: str, path: str, what: str) -> None:
    """Measure in a fresh process, and print a line."""
    is_cold, is_warm = "empty" in what, "with warm_up" in what
    cache = tempfile.mkdtemp(dir=folder) if is_cold else os.environ.get("NUMBA_CACHE_DIR", "")
    command = [sys.executable, __file__, "--measure", path, "--queries", str(options.queries)]
    command += ["--k", str(options.k), "--pause", str(options.pause)]
    if is_warm:
        command.append("--warm-up")
    if is_cold:  # ignore the cache beside the source, too
        command.append("--own-cache-alone")
    output = subprocess.run(
        command,
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = json.loads(output)
    cells = " ".join(f"{found[name]:9.1f}" for name in ("ready", "p50", "p99", "longest"))
    print(f"{what:36} {cells} {found['at']:8}", flush=True)


def around_the_kernel(rows: int, bits: int, top_k: int) -> None:
    """Print the CPU time of one call, and how much of it is not the kernel's."""
    from hashkit.retrieval import selecting
    from hashkit.retrieval.loading import KERNELS

    KERNELS.load(bits)
    codes = np.random.default_rng(0).integers(0, 256, (rows, bits // 8), np.uint8)
    query, codes_set = codes[:1] ^ 1, hashkit.CodeSet(codes, bits)
    kernel, given = selecting.select_rows, []
    selecting.select_rows = lambda *values: (given.append(values), kernel(*values))[1]
    hashkit.search(query, codes_set, top_k=top_k, n_threads=1)
    selecting.select_rows = kernel
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bank.h5")
        hashkit.save_codes(path, codes_set)
        with hashkit.Bank.open(path) as bank:
            calls: dict[str, Callable[[], object]] = {
                "the kernel alone": lambda: kernel(*given[0]),
                "array": lambda: hashkit.search(
                    query, codes, top_k=top_k, n_bits=bits, n_threads=1
                ),
                "code set": lambda: hashkit.search(query, codes_set, top_k=top_k, n_threads=1),
                "bank": lambda: hashkit.search(query, bank, top_k=top_k, n_threads=1),
            }
            least = dict.fromkeys(calls, np.inf)
            n_calls = max(1, 2_000_000 // (rows * bits // 8 + 40_000))
            for _ in range(150):
                for what, call in calls.items():
                    started = time.thread_time_ns()
                    for _ in range(n_calls):
                        call()
                    took = (time.thread_time_ns() - started) / n_calls / 1000
                    least[what] = min(least[what], took)
    for what, took in least.items():
        rest = took - least["the kernel alone"]
        print(f"{what:20} {took:8.1f} us, {rest:6.1f} us around the kernel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--pause", type=float, default=0, help="milliseconds between two calls")
    parser.add_argument("--cold", action="store_true", help="also with an empty cache")
    parser.add_argument("--python", action="store_true", help="time around the kernel")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--warm-up", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--own-cache-alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if options.own_cache_alone:
            from hashkit.kernels import cache

            cache.KernelCache.reads_others = False
        found = measure(
            options.measure,
            options.queries,
            options.k,
            options.pause / 1000,
            is_warm=options.warm_up,
        )
        print(json.dumps(found))
        return
    if options.python:
        around_the_kernel(options.rows, options.bits, options.k)
        return
    from hashkit.machine import describe_machine  # not in the processes that are measured

    codes = np.random.default_rng(0).integers(0, 256, (options.rows, options.bits // 8), np.uint8)
    print(f"{describe_machine()}; {options.queries:,} queries, one per call, in")
    print(f"{options.rows:,} codes of {options.bits} bits, k = {options.k}; milliseconds")
    print(f"{'':36} {'ready':>9} {'p50':>9} {'p99':>9} {'longest':>9} {'at call':>8}")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "bank.h5"))
        hashkit.save_codes(path, hashkit.CodeSet(codes, options.bits))
        kinds = ["kernels kept", *(["cache empty"] if options.cold else [])]
        for kind in kinds:
            for warm in ("with warm_up", "without"):
                measured_in_a_process(options, folder, path, f"{kind}, {warm}")


if __name__ == "__main__":
    main()
