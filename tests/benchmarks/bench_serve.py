"""Searches per second of a server, and their latencies, beside the same work in one process.

    python tests/benchmarks/bench_serve.py
    python tests/benchmarks/bench_serve.py --model phash --n-rows 1000000
    python tests/benchmarks/bench_serve.py --minutes 10

Server and clients share the machine, over loopback. In a process: images in memory are decoded,
encoded in batches and searched, by the calls of the package. The highest load is that of clients
that ask one request after the other; latencies are measured at half of it, from the moment at which
a request is due.

With ``--minutes`` the server then runs at that load while images are added and removed, and is
killed now and then; every answer is compared with what it must be.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from bench_encode import machine
from load_client import Load, closed_loop, open_loop, request_of
from serve_soak import Supervisor, picture, soak

import hashkit
from hashkit.bank.editor import BankEditor
from hashkit.codes import binarize
from hashkit.runtimes.encoder import Encoder

N_IMAGES = 200
BATCHES = (1, 4, N_IMAGES)
BLOCK = 100_000


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="lite0", help="a model file or a built-in model")
    parser.add_argument("--n-rows", type=int, default=100_000, help="codes in the bank")
    parser.add_argument("--clients", type=int, default=32, help="clients at the highest load")
    parser.add_argument("--seconds", type=float, default=10, help="for each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of process and server in turn")
    parser.add_argument("--minutes", type=float, default=0, help="of additions, removals and kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        album = make_album(Path(scratch) / "album")
        encoder = Encoder.load(args.model, "cpu")
        bank = make_bank(Path(scratch) / "bank.h5", album, encoder, args.n_rows)
        images = [path.read_bytes() for path in sorted(album.iterdir())]
        requests = [request_of("POST", "/search?k=10", image) for image in images]
        print(f"machine      {machine()}")
        print(f"model        {args.model}, {encoder.n_bits} bits; {args.n_rows:,} codes")
        command = ["--bank", str(bank), "--model", args.model, "--device", "cpu"]
        with Supervisor([*command, "--writable", str(album)]) as server:
            server.wait_until_ready()
            highest = throughput(server, requests, encoder, bank, images, args)
            latency(server.address, requests, highest / 2, args.seconds)
            if args.minutes:
                print(soak(server, encoder, bank, album, highest / 2, args.minutes * 60))


def make_album(folder: Path) -> Path:
    """A folder of JPEG files of 480 x 360 pixels."""
    folder.mkdir()
    for number in range(N_IMAGES):
        (folder / f"{number:06d}.jpg").write_bytes(picture(number))
    return folder


def make_bank(path: Path, album: Path, encoder: Encoder, n_rows: int) -> Path:
    """A bank of an album, and of random codes."""
    hashkit.encode(album, encoder, path).close()
    rng = np.random.default_rng(0)
    with BankEditor.open(path) as editor:
        for start in range(0, n_rows - N_IMAGES, BLOCK):
            n_new = min(BLOCK, n_rows - N_IMAGES - start)
            logits = rng.standard_normal((n_new, encoder.n_bits))
            names = [f"random/{start + row}.jpg" for row in range(n_new)]
            editor.apply(binarize(logits), names)
    return path


def throughput(
    server: Supervisor,
    requests: list[bytes],
    encoder: Encoder,
    bank: Path,
    images: list[bytes],
    args: argparse.Namespace,
) -> float:
    """Print searches per second in a process and over HTTP; returns the latter."""
    alone: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    served, used, used_alone, used_to_ask = [], [], [], []
    for _ in range(args.rounds):
        for batch in BATCHES:
            rate, cpu = in_process(encoder, bank, images, batch, args.seconds)
            alone[batch].append(rate)
        used_alone.append(cpu)
        before = server.cpu_seconds()
        load = in_other_process(closed_loop, server.address, requests, args.clients, args.seconds)
        assert set(load.statuses) == {200}
        n_answers = len(load.statuses)
        served.append(n_answers / load.seconds)
        used.append((server.cpu_seconds() - before) / n_answers)
        used_to_ask.append(load.cpu_seconds / n_answers)
    best = max(alone.values(), key=statistics.median)
    shares = np.divide(served, best)
    rates = ", ".join(f"{statistics.median(one):.1f}/s by {batch}" for batch, one in alone.items())
    print(f"in a process {rates}")
    print(f"served       {statistics.median(served):.1f}/s, {args.clients} clients")
    least, most = min(shares), max(shares)
    print(
        f"share        {statistics.median(shares):.2f} of the best one ({least:.2f} to {most:.2f})"
    )
    print(
        f"CPU time     {1000 * statistics.median(used):.1f} ms of the server per search; "
        f"{1000 * statistics.median(used_to_ask):.2f} ms of the clients; "
        f"{1000 * statistics.median(used_alone):.1f} ms in a process, in batches"
    )
    return statistics.median(served)


def in_process(
    encoder: Encoder, path: Path, images: list[bytes], batch: int, seconds: float
) -> tuple[float, float]:
    """Searches per second by calls of the package, and CPU seconds of one search."""
    with hashkit.Bank.open(path) as bank:
        n_done, start, used = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            some = [images[(n_done + at) % len(images)] for at in range(batch)]
            found = hashkit.search(encoder.encode(some), bank, top_k=10)
            assert found.rows.shape == (batch, 10)
            n_done += batch
        used = time.process_time() - used
        return n_done / (time.perf_counter() - start), used / n_done


def latency(address: tuple[str, int], requests: list[bytes], rate: float, seconds: float) -> None:
    """Print the latencies at a rate."""
    for is_random in (False, True):
        load = in_other_process(open_loop, address, requests, rate, 2 * seconds, is_random)
        assert set(load.statuses) == {200}
        p50, p99 = np.percentile(load.latencies, [50, 99])
        how = "at random" if is_random else "evenly"
        print(
            f"at {rate:.1f}/s {how:9} p50 {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms, "
            f"longest {1000 * max(load.latencies):.0f} ms; p99 is {p99 / p50:.2f} x p50"
        )


def in_other_process(
    work: Callable[..., Load], address: tuple[str, int], requests: list[bytes], *settings: float
) -> Load:
    """A load from a new process, without this one's threads."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (address, requests, *settings))


if __name__ == "__main__":
    main()
