"""How long commands take from start to end, and how much of it is not the interpreter.

    python tests/benchmarks/bench_startup.py
    python tests/benchmarks/bench_startup.py --model model.onnx --n-rows 10000000

Times whole processes: ``hashkit --help``, and ``hashkit search`` of an image file in a bank of a
million codes, opening, encoding and printing included. CPU time is that of all threads, and
is what the wall time becomes on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_encode import export_dnnh, machine, make_jpegs

from hashkit.bank.header import BankHeader, BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.writer import BankWriter
from hashkit.datasets.folders import open_image_folder
from hashkit.runtimes.encoder import Encoder

N_CLASSES = 10
BLOCK = 10_000


def main() -> None:
    """Time the commands and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, help="an ONNX file that keeps the contract")
    parser.add_argument("--n-rows", type=int, default=1_000_000, help="codes in the bank")
    parser.add_argument("--rounds", type=int, default=7, help="processes for each command")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        images = make_jpegs(scratch / "images", 64)
        model = args.model or export_dnnh(scratch / "dnnh.onnx", open_image_folder(images))
        bank = make_bank(scratch / "bank.h5", model, args.n_rows)
        start = [sys.executable, "-c", "from hashkit.cli import main; main()"]
        place = ["--bank", str(bank), "--model", str(model), "--device", "cpu"]
        query = ["search", "--query", str(images / "000000.jpg"), *place]
        print(f"machine   {machine()}")
        print(f"bank      {args.n_rows:,} codes, {bank.stat().st_size / 1e6:.0f} MB")
        print("command                    processor      wall (median; least)")
        floor = timed([sys.executable, "-c", "pass"], args.rounds)
        show("python -c pass", floor)
        for name, command in (
            ("hashkit --help", [*start, "--help"]),
            ("hashkit search", [*start, *query]),
            ("hashkit search --json", [*start, *query, "--json"]),
        ):
            show(name, timed(command, args.rounds))


def timed(command: list[str], rounds: int) -> list[tuple[float, float]]:
    """CPU and wall seconds of each of some processes, after one that is not counted."""
    times = []
    for _ in range(rounds + 1):
        before, started = os.times(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall, after = time.perf_counter() - started, os.times()
        used = after.children_user + after.children_system
        times.append((used - before.children_user - before.children_system, wall))
    return times[1:]


def show(name: str, times: list[tuple[float, float]]) -> None:
    """Print a line about a command."""
    used, wall = zip(*times, strict=True)
    print(
        f"{name:24} {statistics.median(used):8.2f} s ({min(used):.2f}) "
        f"{statistics.median(wall):8.2f} s ({min(wall):.2f})",
        flush=True,
    )


def make_bank(path: Path, model: Path, n_rows: int) -> Path:
    """A bank of random codes that says it was made by ``model``."""
    encoder = Encoder.load(model, "cpu")
    names = [f"class{row % N_CLASSES}/{row:08d}.jpg" for row in range(n_rows)]
    labels = np.arange(n_rows) % N_CLASSES
    rng = np.random.default_rng(0)
    bits = encoder.n_bits
    codes = np.packbits(rng.integers(0, 2, (BLOCK, bits), np.uint8), axis=1)
    header = BankHeader(
        n_bits=bits,
        manifest=encoder.manifest,
        model_sha256=encoder.model_sha256,
        runtime=encoder.runtime,
        provider=encoder.provider,
        precision=encoder.precision,
        class_names=tuple(f"class{number}" for number in range(N_CLASSES)),
        label_kind="single",
        source=BankSource("made", None, "", "all", None, n_rows, hash_names(names, labels)),
    )
    n_name_bytes = sum(map(len, names))
    with BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=n_name_bytes) as writer:
        for start in range(0, n_rows, BLOCK):
            stop = min(start + BLOCK, n_rows)
            block = rng.permutation(codes)[: stop - start]
            writer.write(block, names[start:stop], labels[start:stop], n_consumed=stop)
        writer.complete()
    return path


if __name__ == "__main__":
    main()
