"""Time the statements of docs/databases.md in each database that is installed, beside hashkit.

python tests/benchmarks/bench_databases.py --folder DIR [--rows 10000000]

One query for the 10 nearest of random codes of 64 bits, on one thread. Prints million codes per
second of CPU time, the least of several runs, and compares each answer with hashkit's. PostgreSQL,
which works in other processes, is not timed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import hashkit
from hashkit.codesets import CodeSet
from hashkit.formats import save_codes
from hashkit.machine import describe_machine
from hashkit.retrieval.loading import KERNELS

sys.path.append(str(Path(__file__).parents[1] / "support"))

from database_page import EXAMPLE, blocks, defined_in

Hits: TypeAlias = list[tuple[int, int]]
TOP_K, RUNS = 10, 5


def least_seconds(task: Callable[[], Any], n_runs: int = RUNS) -> float:
    """The least CPU time of several runs of a task."""
    times = []
    for _ in range(n_runs):
        start = time.process_time()
        task()
        times.append(time.process_time() - start)
    return min(times)


def in_hashkit(codes: CodeSet, query: bytes) -> Callable[[], Hits]:
    KERNELS.load(64)

    def ask() -> Hits:
        found = hashkit.search(np.frombuffer(query, np.uint8)[None], codes, top_k=TOP_K)
        return list(zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True))

    return ask


def in_duckdb(folder: Path, query: bytes) -> Callable[[], Hits]:
    import duckdb

    database = duckdb.connect()
    database.execute("SET threads = 1")
    load, nearest = (sql.replace(", name", "") for sql in blocks("DuckDB", "sql")[:2])
    database.execute(load.replace("photos.parquet", str(folder / "photos.parquet")))
    sql = nearest.replace(EXAMPLE, query.hex())
    return lambda: [(int(row), int(distance)) for row, distance in database.execute(sql).fetchall()]


def in_clickhouse(folder: Path, query: bytes) -> Callable[[], Hits]:
    from chdb.session import Session

    session = Session()
    load, nearest = (sql.replace(", name", "") for sql in blocks("ClickHouse", "sql")[:2])
    session.query(load.replace("photos.parquet", str(folder / "photos.parquet")))
    sql = nearest.replace(EXAMPLE, query.hex()).replace(";", " SETTINGS max_threads = 1")

    def ask() -> Hits:
        lines = [line.split(",") for line in str(session.query(sql)).split()]
        return [(int(row), int(distance)) for row, distance in lines]

    return ask


def in_lance(folder: Path, query: bytes) -> Callable[[], Hits]:
    import lance

    dataset, nearest = lance.dataset(str(folder / "photos.lance")), defined_in("Lance")["nearest"]
    return lambda: nearest(dataset, np.frombuffer(query, np.uint8), TOP_K)


DATABASES = {"duckdb": in_duckdb, "chdb": in_clickhouse, "lance": in_lance}
SUFFIXES = {"duckdb": ".parquet", "chdb": ".parquet", "lance": ".lance"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the files are written")
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(f"{describe_machine()}; {options.rows:,} codes of 64 bits")
    codes = np.random.default_rng(0).integers(0, 256, (options.rows, 8), dtype=np.uint8)
    database, query = CodeSet(codes, 64), codes[5].tobytes()
    ask = in_hashkit(database, query)
    expected, seconds = ask(), least_seconds(ask, 4 * RUNS)
    print(f"hashkit {options.rows / seconds / 1e6:8.1f} million codes per second of CPU time")
    for name, opened in DATABASES.items():
        if find_spec(name) is None:
            print(f"{name:7} is not installed")
            continue
        save_codes(options.folder / f"photos{SUFFIXES[name]}", database, overwrite=True)
        ask = opened(options.folder, query)
        same = "the same answer" if ask() == expected else "ANOTHER ANSWER"
        rate = options.rows / least_seconds(ask) / 1e6
        print(f"{name:7} {rate:8.1f} million codes per second of CPU time, {same}")


if __name__ == "__main__":
    main()
