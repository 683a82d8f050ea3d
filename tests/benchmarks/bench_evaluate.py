"""Time an evaluation against a sort for each query; run as a script, prints ratios.

python tests/benchmarks/bench_evaluate.py [--queries 1000] [--rows 59000] [--bits 48]
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

from hashkit.codes import pack, unpack
from hashkit.codesets import CodeSet
from hashkit.evaluation import evaluate, expected_map


def noisy_codes(seed: int, n_rows: int, n_bits: int) -> CodeSet:
    """Codes of ten classes: each class has a code, and of each row three bits in ten flip."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 2, (10, n_bits))
    labels = rng.integers(0, 10, n_rows)
    return CodeSet(pack(centres[labels] ^ (rng.random((n_rows, n_bits)) < 0.3)), n_bits, labels)


def naive_map(query: CodeSet, database: CodeSet) -> float:
    """What most training repositories do: matrix product of signs, sort, ranks of the hits."""
    assert query.labels is not None
    assert database.labels is not None
    signs = 2.0 * unpack(database.codes, database.n_bits) - 1
    query_signs: NDArray[np.float64] = 2.0 * unpack(query.codes, query.n_bits) - 1
    precisions = []
    for sign, label in zip(query_signs, query.labels, strict=True):
        distances = (query.n_bits - signs @ sign) / 2
        relevant = database.labels[np.argsort(distances, kind="stable")] == label
        ranks = np.flatnonzero(relevant) + 1
        precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
    return float(np.mean(precisions))


def seconds(task: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = task()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=59_000)
    parser.add_argument("--bits", type=int, default=48)
    options = parser.parse_args()
    query = noisy_codes(1, options.queries, options.bits)
    database = noisy_codes(2, options.rows, options.bits)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"numpy {np.__version__}; {options.queries:,} x {options.rows:,}, {options.bits} bits")
    naive, by_row = seconds(lambda: naive_map(query, database))
    print(f"a sort for each query: {naive:6.2f} s, one mAP")
    whole, report = seconds(lambda: evaluate(query, database))
    np.testing.assert_allclose(report.map_index, by_row, atol=1e-9)
    print(f"evaluate, all numbers: {whole:6.2f} s, {naive / whole:.1f} times as fast")
    short, score = seconds(lambda: expected_map(query, database))
    np.testing.assert_allclose(score, report.map, atol=1e-12)
    print(f"expected_map, one mAP: {short:6.2f} s, {naive / short:.1f} times as fast")


if __name__ == "__main__":
    main()
