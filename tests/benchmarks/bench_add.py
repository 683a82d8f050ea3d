"""Time appending rows to a bank one at a time, at its beginning, in the middle and at the end.

    python tests/benchmarks/bench_add.py [--appends N] [--rows N] [--bits B] [--folder DIR]

An append must cost the same however many came before it, and however large the bank is. Prints
the first tenth in milliseconds, and the middle and the last tenth as ratios to it, for a bank of
one row and one of `--rows` rows: by `hashkit.add`, which opens the bank each time, and by one
`BankEditor` that stays open. The mean includes the copies that make room; on the clock, `fsync`
takes most.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import hashkit
from hashkit.bank.editor import BankEditor
from hashkit.machine import describe_machine


class Times(NamedTuple):
    """Time of each append, seconds: on the clock, and of this process's CPU."""

    clock: NDArray[np.float64]
    cpu: NDArray[np.float64]


def times_of(append: Callable[[int], object], n_appends: int) -> Times:
    """Times of appends, one after the other."""
    times = Times(np.empty(n_appends), np.empty(n_appends))
    for row in range(n_appends):
        started, cpu = time.perf_counter(), time.process_time()
        append(row)
        times.clock[row] = time.perf_counter() - started
        times.cpu[row] = time.process_time() - cpu
    return times


def show(what: str, times: Times) -> None:
    """Print a line: milliseconds of the first tenth, and ratios of the others to it."""
    n = max(1, len(times.clock) // 10)
    middle = (len(times.clock) - n) // 2
    cells = []
    for values, measure in ((times.clock, np.median), (times.cpu, np.mean)):
        parts = [measure(values[at : at + n]) for at in (0, middle, len(values) - n)]
        cells.append(
            f"{1000 * parts[0]:8.2f} {parts[1] / parts[0]:8.2f} {parts[2] / parts[0]:8.2f}"
        )
    print(f"{what:36} {' '.join(cells)} {1000 * times.clock.max():8.0f}", flush=True)


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
    print(f"{describe_machine()}; {options.appends:,} appends of one row")
    print(f"{'':36} {'clock, median':>26} {'CPU, mean':>26} {'longest':>8}")
    columns = " ".join(f"{part:>8}" for part in ("first/ms", "middle", "last") * 2)
    print(f"{'bank of, appended by':36} {columns} {'ms':>8}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "bank.h5")
        for n_rows in (1, options.rows):
            database = rng.integers(0, 256, (n_rows, size), np.uint8)
            names = [f"{row:09d}.jpg" for row in range(n_rows)]
            made = hashkit.CodeSet(database, options.bits, names=names)
            hashkit.save_codes(path, made, overwrite=True)
            show(
                f"{n_rows:,} rows, hashkit.add",
                times_of(
                    lambda row: hashkit.add(path, codes[row][None], [f"{row}.jpg"]),
                    options.appends,
                ),
            )
            hashkit.save_codes(path, made, overwrite=True)
            with BankEditor.open(path) as editor:
                show(
                    f"{n_rows:,} rows, BankEditor.apply",
                    times_of(
                        lambda row: editor.apply(codes[row][None], [f"{row}.jpg"]),
                        options.appends,
                    ),
                )


if __name__ == "__main__":
    main()
