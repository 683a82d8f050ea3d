"""Time reading and writing a bank, compared with h5py and with raw files.

    python tests/benchmarks/bench_bank.py [--rows N] [--bits B] [--folder DIR]

Prints ratios within this run, and the machine. All reads come from a warm page cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from hashkit.bank.header import BankHeader
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import code_size
from hashkit.manifest import Manifest

REPEATS = 5
BATCH = 1_024


def median_seconds(work: Callable[[], object]) -> float:
    """Median time of `REPEATS` runs, seconds."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def write_bank(path: Path, codes: NDArray[np.uint8], names: list[str], n_bits: int) -> None:
    header = BankHeader(n_bits, manifest=Manifest(n_bits, 32, 32))
    n_name_bytes = sum(map(len, names))
    with BankWriter.create(
        path, header, n_rows=len(codes), n_name_bytes=n_name_bytes, overwrite=True
    ) as writer:
        for start in range(0, len(codes), BATCH):
            rows = slice(start, start + BATCH)
            writer.write(codes[rows], names[rows], n_consumed=min(start + BATCH, len(codes)))
        writer.complete()


def write_raw(path: Path, codes: NDArray[np.uint8], names: list[str]) -> None:
    """Append codes, name ends and names to three files, and flush them to the disk at the end."""
    files = [path.with_suffix(f".{part}").open("wb", buffering=0) for part in ("c", "e", "n")]
    n_name_bytes = 0
    for start in range(0, len(codes), BATCH):
        text = [name.encode() for name in names[start : start + BATCH]]
        ends = np.cumsum([len(name) for name in text], dtype=np.uint64) + np.uint64(n_name_bytes)
        n_name_bytes = int(ends[-1])
        columns = (codes[start : start + BATCH], ends, b"".join(text))
        for file, data in zip(files, columns, strict=True):
            file.write(data)
    for file in files:
        os.fsync(file.fileno())
        file.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64, choices=(64, 128, 256))
    parser.add_argument("--folder", type=Path, help="where to write (default: temporary)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (options.rows, code_size(options.bits)), dtype=np.uint8)
    names = [f"images/{row % 1000:03}/{row:08}.jpg" for row in range(options.rows)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "bank.h5"
        bank_seconds = median_seconds(lambda: write_bank(path, codes, names, options.bits))
        raw_seconds = median_seconds(lambda: write_raw(path, codes, names))
        with Bank.open(path) as bank, h5py.File(path, "r") as file:
            expected = codes.view(np.uint64).sum()
            if expected != bank.codes.view(np.uint64).sum():
                raise SystemExit("the bank does not hold the codes that were written")
            mapped_seconds = median_seconds(lambda: bank.codes.view(np.uint64).sum())
            plain_seconds = median_seconds(lambda: file["codes"][...].view(np.uint64).sum())
        open_seconds = median_seconds(lambda: Bank.open(path).names[options.rows - 1])
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, h5py {h5py.__version__}"
    )
    print(f"{options.rows:,} rows of {options.bits} bits, median of {REPEATS}")
    print(f"open, one name           {open_seconds * 1e3:8.2f} ms")
    print(
        f"sum of codes, mapped     {codes.nbytes / mapped_seconds / 1e9:8.2f} GB/s, "
        f"{plain_seconds / mapped_seconds:.1f} x h5py's dataset[...]"
    )
    print(
        f"writing, {BATCH} per call {options.rows / bank_seconds / 1e6:8.2f} M rows/s, "
        f"{raw_seconds / bank_seconds:.2f} x three raw files"
    )


if __name__ == "__main__":
    main()
