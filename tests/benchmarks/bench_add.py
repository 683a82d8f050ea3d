"""Time appending rows to a bank one at a time, at its beginning, in the middle and at the end.

    python tests/benchmarks/bench_add.py [--appends N] [--rows N] [--bits B] [--folder DIR]

An append must cost the same however many came before it, and however large the bank is. Prints the
median and the mean of the first, the middle and the last tenth, as ratios to the first, for a bank
that starts empty and one of `--rows` rows: by `hashkit.add`, which opens the bank each time, and
by one `BankEditor` that stays open. The mean includes the copies that make room.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import hashkit
from hashkit.bank.editor import BankEditor


def seconds_of(append: Callable[[int], object], n_appends: int) -> list[float]:
    """Time of each append, seconds."""
    seconds = []
    for row in range(n_appends):
        started = time.perf_counter()
        append(row)
        seconds.append(time.perf_counter() - started)
    return seconds


def show(what: str, seconds: list[float]) -> None:
    """Print a line of ratios; the median of the first tenth is also in milliseconds."""
    n = max(1, len(seconds) // 10)
    middle = (len(seconds) - n) // 2
    parts = [seconds[:n], seconds[middle : middle + n], seconds[-n:]]
    cells = []
    for measure in (statistics.median, statistics.mean):
        first = measure(parts[0])
        cells += [f"{measure(part) / first:8.2f}" for part in parts[1:]]
    print(
        f"{what:36} {1000 * statistics.median(parts[0]):8.2f} {' '.join(cells)}"
        f" {1000 * max(seconds):8.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="where to write (default: temporary)")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    size = options.bits // 8
    codes: NDArray[np.uint8] = rng.integers(0, 256, (options.appends, size), np.uint8)
    print(f"{platform.processor() or platform.machine()}, {options.appends:,} appends of one row")
    print(f"{'':36} {'ms':>8} {'median of':>17} {'mean of':>17} {'longest':>8}")
    columns = " ".join(f"{part:>8}" for part in ("middle", "last") * 2)
    print(f"{'bank of, appended by':36} {'first':>8} {columns} {'ms':>8}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "bank.h5")
        for n_rows in (1, options.rows):
            database = rng.integers(0, 256, (n_rows, size), np.uint8)
            names = [f"{row:09d}.jpg" for row in range(n_rows)]
            made = hashkit.CodeSet(database, options.bits, names=names)
            hashkit.save_codes(path, made, overwrite=True)
            show(
                f"{n_rows:,} rows, hashkit.add",
                seconds_of(
                    lambda row: hashkit.add(path, codes[row][None], [f"{row}.jpg"]),
                    options.appends,
                ),
            )
            hashkit.save_codes(path, made, overwrite=True)
            with BankEditor.open(path) as editor:
                show(
                    f"{n_rows:,} rows, BankEditor.apply",
                    seconds_of(
                        lambda row: editor.apply(codes[row][None], [f"{row}.jpg"]),
                        options.appends,
                    ),
                )


if __name__ == "__main__":
    main()
