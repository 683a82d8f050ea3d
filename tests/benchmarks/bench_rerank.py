"""Compare ties in row order with ties ordered by asymmetric distance, on a run's images.

python tests/benchmarks/bench_rerank.py RUN [--k 1000]

Ranks the run's database for its queries, with ties in row order, with ties ordered by the queries'
logits, and with 4 and 10 times as many rows ordered by the logits, and prints precision@k and the
mean average precision of the first k ranks (divided by k, or by the number of relevant images if
that is smaller). The mean over all tie orders is printed for comparison.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.codes import binarize
from hashkit.datasets.spec import open_spec
from hashkit.evaluation.evaluator import evaluate
from hashkit.retrieval.search import search
from hashkit.runs.run import Run
from hashkit.runtimes.encoder import Encoder
from hashkit.workflow.training_source import run_spec


def average_precision(is_hit: NDArray[np.bool_], n_relevant: NDArray[Any]) -> float:
    """Mean over queries of the sum of precision at each hit, divided by the possible hits."""
    hits = np.cumsum(is_hit, axis=1)
    precision = hits / np.arange(1, is_hit.shape[1] + 1)
    possible = np.minimum(n_relevant, is_hit.shape[1])
    return float(((precision * is_hit).sum(axis=1) / possible).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--k", type=int, default=1000)
    options = parser.parse_args()
    run = Run.open(options.run)
    images, split = open_spec(run_spec(run))
    queries, database = Bank.open(run.queries_path), Bank.open(run.bank_path)
    if queries.labels is None or database.labels is None or queries.labels.ndim == 2:
        parser.error("the run needs images with one label each")
    own = images.subset(split.part("queries"))
    logits = Encoder.load(run.model_path).logits([own.source(row) for row in range(len(own))])
    codes = binarize(logits)
    labels = np.asarray(database.labels)
    n_relevant = np.array([np.count_nonzero(labels == label) for label in queries.labels])
    report = evaluate(queries, database, convention="min", cutoffs=[options.k], ks=[10, 100])
    print(f"{len(queries):,} queries, {len(database):,} images, {database.n_bits} bits")
    print(
        f"ties averaged:  mAP@{options.k:,} {report.map_at[options.k]:.4f}, "
        f"precision@10 {report.precision_at[10]:.4f}, @100 {report.precision_at[100]:.4f}"
    )
    for name, given, oversample in (
        ("ties by row", None, None),
        ("ties by logits", logits, None),
        ("4 x k by logits", logits, 4),
        ("10 x k by logits", logits, 10),
    ):
        start = time.perf_counter()
        found = search(codes, database, top_k=options.k, logits=given, oversample=oversample)
        seconds = time.perf_counter() - start
        is_hit = labels[found.rows] == np.asarray(queries.labels)[:, None]
        print(
            f"{name + ':':18} mAP@{options.k:,} {average_precision(is_hit, n_relevant):.4f}, "
            f"precision@10 {is_hit[:, :10].mean():.4f}, @100 {is_hit[:, :100].mean():.4f}; "
            f"{1e3 * seconds / len(queries):.2f} ms per query"
        )


if __name__ == "__main__":
    main()
