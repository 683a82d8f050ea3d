"""Make a bank set of up to a billion codes, open it, search it and evaluate it once.

python tests/benchmarks/bench_billion.py --folder DIR [--rows 1000000000] [--shards 64]
    codes of 64 bits alone: 8 bytes per row on the disk; open, 1 and 256 queries, a radius
python tests/benchmarks/bench_billion.py --folder DIR --labelled
    12 bytes per row: the same, and an evaluation of 1,000 queries

The set stays in the folder, and is used again by the next run. Codes lie around one centre per
class, with each bit flipped once in four times, so ranks are tied and queries have relevant rows.
Every step is timed once, unless a number of runs is printed. Memory is the largest anonymous memory
of the process during a step, which excludes mapped files, and the growth of the pages of files that
it has mapped.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import hashkit
from hashkit.bank.build import build_bank
from hashkit.bank.header import BankHeader
from hashkit.bank_set.finishing import finish, shard_name
from hashkit.bank_set.manifest import MANIFEST_NAME
from hashkit.bank_set.places import is_bank_set
from hashkit.codesets import CodeSet
from hashkit.machine import describe_machine

N_BITS: Final = 64
N_CLASSES: Final = 1_000
RADIUS: Final = 8
BLOCK_ROWS: Final = 1 << 20
SAMPLE_SECONDS: Final = 0.02


def codes_and_labels(
    rng: np.random.Generator, n_rows: int
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Codes around the centres of their classes, uint8 [n, 8], and labels."""
    centres = np.random.default_rng(0).integers(0, 1 << 64, N_CLASSES, dtype=np.uint64)
    labels = rng.integers(0, N_CLASSES, n_rows, dtype=np.int32)
    flips = rng.integers(0, 1 << 64, (2, n_rows), dtype=np.uint64)
    codes = centres[labels] ^ (flips[0] & flips[1])
    return codes.view(np.uint8).reshape(n_rows, 8), labels


def make_set(folder: Path, n_rows: int, n_shards: int, is_labelled: bool) -> None:
    """Write the shards that are not there, then the manifest."""
    header = BankHeader(
        N_BITS,
        class_names=tuple(f"class {number}" for number in range(N_CLASSES)) if is_labelled else (),
        label_kind="single" if is_labelled else "none",
        has_names=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(n_shards):
        path = folder / shard_name(shard)
        size = n_rows * (shard + 1) // n_shards - n_rows * shard // n_shards
        if path.exists():
            continue

        def blocks(shard: int = shard, size: int = size) -> Iterator[tuple]:
            rng = np.random.default_rng([1, shard])
            for start in range(0, size, BLOCK_ROWS):
                codes, labels = codes_and_labels(rng, min(BLOCK_ROWS, size - start))
                yield codes, None, labels if is_labelled else None, None

        build_bank(path, header, (), blocks(), n_rows=size, n_name_bytes=0, n_consumed=size)
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    finish(folder)


def memory() -> tuple[int, int]:
    """Anonymous memory and mapped pages of files of this process, in bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) << 10, int(fields["RssFile"].split()[0]) << 10


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Print the time and the memory of a step."""
    ended, peaks = threading.Event(), list(memory())

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peaks[:] = map(max, peaks, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        ended.set()
        watcher.join()
    print(
        f"{name:32} {wall:10.3f} s wall {cpu:10.3f} s CPU "
        f"{peaks[0] / 1e6:8.0f} MB {peaks[1] / 1e6:8.0f} MB mapped",
        flush=True,
    )


def print_sizes(folder: Path) -> None:
    """Logical and allocated bytes of the files of the set."""
    status = [path.stat() for path in folder.glob("shard-*.h5")]
    logical = sum(one.st_size for one in status)
    allocated = sum(one.st_blocks * 512 for one in status)
    manifest = (folder / MANIFEST_NAME).stat().st_size
    print(
        f"{len(status)} shards: {logical:,} bytes logical, {allocated:,} allocated; "
        f"manifest {manifest:,} bytes"
    )


def measure(folder: Path, n_queries: int, n_evaluated: int) -> None:
    """Open, search and evaluate the set of a folder."""
    with step("open"):
        opened = hashkit.BankSet.open(folder)
    print(f"{opened.n_rows:,} rows in {len(opened)} shards of {opened.n_bits} bits")
    with step("warm up: read all codes once"):
        hashkit.warm_up(opened)
    codes, labels = codes_and_labels(np.random.default_rng(2), max(n_queries, n_evaluated))
    for _ in range(3):
        with step("1 query, k 10"):
            hashkit.search(codes[:1], opened, top_k=10)
    for top_k in (10, 1_000):
        with step(f"{n_queries} queries, k {top_k}"):
            found = hashkit.search(codes[:n_queries], opened, top_k=top_k)
        check_order(found.distances, found.rows)
    with step(f"{n_queries} queries, radius {RADIUS}"):
        near = hashkit.search(codes[:n_queries], opened, radius=RADIUS)
    print(f"    {len(near.rows):,} hits within {RADIUS}")
    if opened[0].labels is None:
        return
    query = CodeSet(codes[:n_evaluated], N_BITS, labels[:n_evaluated], (), opened.class_names)
    with step(f"evaluate {n_evaluated} queries"):
        report = hashkit.evaluate(query, opened)
    print(f"    mAP {report.map:.6f}, by row {report.map_index:.6f}")


def check_order(distances: NDArray[np.integer], rows: NDArray[np.integer]) -> None:
    """Check that hits are in the order of distance and row."""
    steps, same = np.diff(distances.astype(np.int64)), np.diff(rows.astype(np.int64)) > 0
    if not ((steps > 0) | ((steps == 0) & same)).all():
        raise SystemExit("hits are not in the order of distance and row")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the set is, or is made")
    parser.add_argument("--rows", type=int, default=1_000_000_000)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--evaluated", type=int, default=1_000, help="queries of the evaluation")
    parser.add_argument("--labelled", action="store_true", help="with a label for each row")
    options = parser.parse_args()
    print(f"hashkit {hashkit.__version__}, {describe_machine()}")
    folder = options.folder / ("labelled" if options.labelled else "codes")
    if not is_bank_set(folder):
        with step("make the set"):
            make_set(folder, options.rows, options.shards, options.labelled)
    print_sizes(folder)
    measure(folder, options.queries, options.evaluated)


if __name__ == "__main__":
    main()
