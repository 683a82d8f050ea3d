"""Time all pairs of near codes against Faiss's range search and a brute scan; prints ratios.

python tests/benchmarks/bench_pairs.py [--rows 1000000] [--bits 64] [--radius 2] [--threads 2]

All find the same pairs, which is checked. Faiss and the scan compare every pair, so they take the
first ``--sample`` rows as queries, and their time is multiplied; the scan of all rows would compare
each pair once, so half of its time counts, while Faiss compares each twice. CPU time is
that of all threads; on a machine that does other work, it is the fairer one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.collection.join import hamming_join
from hashkit.machine import processor

Codes = NDArray[np.uint8]


def flipped(rng: np.random.Generator, codes: Codes, n_flips: int) -> Codes:
    """Flip random bits of each code."""
    codes = codes.copy()
    for _ in range(n_flips):
        bits = rng.integers(0, codes.shape[1] * 8, len(codes))
        codes[np.arange(len(codes)), bits // 8] ^= (128 >> (bits % 8)).astype(np.uint8)
    return codes


def copies_of(n_originals: int, n_flips: int) -> Callable[[np.random.Generator, int, int], Codes]:
    """Makes copies of random codes, with some bits flipped; ``n_originals`` 0 for no copies."""

    def make(rng: np.random.Generator, n_rows: int, n_bits: int) -> Codes:
        originals = rng.integers(0, 256, (n_originals or n_rows, code_size(n_bits)), dtype=np.uint8)
        if not n_originals:
            return originals
        return flipped(rng, originals[rng.integers(0, n_originals, n_rows)], n_flips)

    return make


KINDS = {
    "uniform": copies_of(0, 0),
    "copies of 50,000": copies_of(50_000, 2),
    "copies of 1,000": copies_of(1_000, 3),
}


class Timed(NamedTuple):
    """Number of pairs, seconds, and CPU seconds of all threads."""

    n_pairs: int
    seconds: float
    cpu: float


def timed(task: Callable[[], int]) -> Timed:
    """Run a task that counts pairs."""
    cpu, start = time.process_time(), time.perf_counter()
    n_pairs = task()
    return Timed(n_pairs, time.perf_counter() - start, time.process_time() - cpu)


def compare(codes: Codes, n_bits: int, radius: int, n_sample: int, n_threads: int) -> None:
    """Print the times of one set of codes."""

    def joined(engine: str, part: Codes | None) -> Callable[[], int]:
        def count() -> int:
            left, right = (codes, None) if part is None else (part, codes)
            blocks = hamming_join(left, right, n_bits, radius, engine=engine, n_threads=n_threads)
            return sum(len(block.left) for block in blocks)

        return count

    def by_faiss() -> int:
        index = faiss.IndexBinaryFlat(n_bits)
        index.add(codes)
        limits, _, _ = index.range_search(sample, radius + 1)
        return int(limits[-1])

    sample = codes[:n_sample]
    for engine in ("tables", "scan"):
        joined(engine, sample[:300])()  # loads the kernels
    own = timed(joined("auto", None))
    part = timed(joined("auto", sample))
    scan, other = timed(joined("scan", sample)), timed(by_faiss)
    assert part.n_pairs == scan.n_pairs == other.n_pairs
    scale = len(codes) / n_sample
    scanned = scan.cpu * scale / 2
    print(
        f"  {own.n_pairs:,} pairs in {own.seconds:.1f} s, {own.cpu:.1f} s of CPU time; "
        f"scan {scanned:,.0f} s of CPU time, {scanned / own.cpu:.0f} times; "
        f"Faiss {scale * other.cpu:,.0f} s of CPU time, {scale * other.cpu / own.cpu:.0f} times",
        flush=True,
    )


def main() -> None:
    """Compare every kind of codes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--radius", type=int, default=2)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(arguments.threads)
    print(f"{processor()}, {arguments.threads} threads, Faiss {faiss.__version__}")
    for name, kind in KINDS.items():
        codes = kind(np.random.default_rng(0), arguments.rows, arguments.bits)
        print(f"{name}: {arguments.rows:,} codes, {arguments.bits} bits, radius {arguments.radius}")
        compare(codes, arguments.bits, arguments.radius, arguments.sample, arguments.threads)


if __name__ == "__main__":
    main()
