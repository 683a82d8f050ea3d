"""Time a sync of a folder in which nothing has changed, compared with a bare walk.

    python tests/benchmarks/bench_sync.py [--files N] [--folder DIR]

The bare walk is os.scandir with a stat of each file, and nothing else. Prints CPU time, which
other programs on the machine hardly change, ratios within this run, and the machine. The folder's
metadata come from a warm cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hashkit.bank.editor import BankEditor
from hashkit.bank.header import BankHeader
from hashkit.collection.contents import FileFacts, as_files
from hashkit.collection.listing import list_folder
from hashkit.collection.sync import folder_source
from hashkit.machine import describe_machine
from hashkit.manifest import Manifest
from hashkit.workflow.reporter import SILENT
from hashkit.workflow.sync import sync

REPEATS = 5
PER_FOLDER = 1_000
N_BITS = 64


def median_seconds(work: Callable[[], object]) -> float:
    """Median CPU time of `REPEATS` runs, seconds."""
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def walk(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from walk(entry.path)
            else:
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns


def write_folder(folder: Path, n_files: int) -> None:
    for number in range(n_files):
        path = folder / f"album {number // PER_FOLDER:04d}" / f"IMG_{number:07d}.jpg"
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(b"%d" % number)


def write_bank(path: Path, folder: Path) -> None:
    """A bank of the folder with made-up codes."""
    listing = list_folder(folder)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (len(listing), N_BITS // 8), np.uint8)
    digests = (rng.bytes(16) for _ in listing.names)
    status = zip(listing.sizes.tolist(), listing.mtimes_ns.tolist(), digests, strict=True)
    header = BankHeader(
        N_BITS,
        manifest=Manifest(N_BITS, 32, 32),
        source=folder_source(listing.folder),
    )
    with BankEditor.create(path, header) as editor:
        editor.apply(codes, listing.names, files=as_files([FileFacts(*one) for one in status]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", help="where to write the files; a temporary folder by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as parent:
        folder, bank = Path(parent, "photos"), Path(parent, "photos.h5")
        write_folder(folder, arguments.files)
        write_bank(bank, folder)
        report = sync(folder, bank, reporter=SILENT)
        if report.unchanged != arguments.files:
            raise SystemExit(f"expected {arguments.files} unchanged files, found {report}")
        bare = median_seconds(lambda: sum(1 for _ in walk(str(folder))))
        listed = median_seconds(lambda: list_folder(folder))
        synced = median_seconds(lambda: sync(folder, bank, reporter=SILENT))
    print(f"{arguments.files:,} files; {describe_machine()}, Python {platform.python_version()}")
    print(f"bare walk with stat  {bare:7.3f} s")
    print(f"list_folder          {listed:7.3f} s  {listed / bare:5.2f} x")
    print(f"sync, no change      {synced:7.3f} s  {synced / bare:5.2f} x")


if __name__ == "__main__":
    main()
