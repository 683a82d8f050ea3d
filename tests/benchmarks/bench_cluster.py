"""What Ray costs over plain processes, and how long searches wait when actors and nodes fail.

python tests/benchmarks/bench_cluster.py [--rows 10000000] [--images 2000] [--rounds 9]

A cluster of a head and two nodes runs on this machine, each node with one CPU. Searches go to four
banks in two actors of one thread; plain processes on pipes run the same classes. Encoding takes the
shards of a set in turn with two processes of ``hashkit encode --shard``. CPU time is that of all
processes, Ray's own included; on a machine that does other work it is the firmer number.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from photo_sets import write_photos
from plain_engine import PlainEngine
from ray_cluster import Cluster, cluster, cpu_seconds_of

from hashkit.bank.header import BankHeader
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.cluster.groups import ShardGroups
from hashkit.cluster.searching import search_groups
from hashkit.machine import processor
from hashkit.manifest import Manifest

N_BITS, N_SHARDS = 64, 4
BATCHES = ((1, 10), (16, 10), (256, 10), (256, 1000))


def write_shards(folder: Path, n_rows: int) -> list[Bank]:
    """Banks of random codes, without names."""
    rng = np.random.default_rng(0)
    header = BankHeader(
        n_bits=N_BITS,
        manifest=Manifest(N_BITS, 32, 32),
        model_sha256="ab" * 32,
        runtime="none",
        provider="none",
        precision="fp32",
        class_names=(),
        label_kind="none",
        source=None,
        has_names=False,
    )
    banks = []
    for number in range(N_SHARDS):
        path = folder / f"shard-{number:05d}.h5"
        with BankWriter.create(path, header, n_rows=n_rows, n_name_bytes=0) as writer:
            for start in range(0, n_rows, 1_000_000):
                size = min(1_000_000, n_rows - start)
                codes = rng.integers(0, 256, (size, N_BITS // 8), np.uint8)
                writer.write(codes, n_consumed=start + size)
            writer.complete()
        banks.append(Bank.open(path))
    return banks


@contextmanager
def counted(processes: Callable[[], list[int]]) -> Iterator[list[float]]:
    """Seconds of wall and CPU time of a block, this process and some others, in the list."""
    found: list[float] = []
    cpu = time.process_time() + cpu_seconds_of(processes())
    start = time.perf_counter()
    yield found
    found.append(time.perf_counter() - start)
    found.append(time.process_time() + cpu_seconds_of(processes()) - cpu)


def compare_searches(one: Cluster, banks: list[Bank], n_rounds: int) -> None:
    """Print both engines' times of each batch, taken in turn."""
    from hashkit.cluster.ray_engine import RayEngine

    rng = np.random.default_rng(1)
    queries = rng.integers(0, 256, (256, N_BITS // 8), np.uint8)
    plain_engine, ray_engine = PlainEngine(), RayEngine(one.address)
    plain = ShardGroups(plain_engine, banks, n_groups=2, n_threads=1)
    on_ray = ShardGroups(ray_engine, banks, n_groups=2, n_threads=1)
    processes = {
        "plain": lambda: [actor.process.pid for actor in plain_engine.actors],
        "ray": one.processes,
    }
    for n_queries, top_k in BATCHES:
        times: dict[str, list[list[float]]] = {"plain": [], "ray": []}
        answers: dict[str, Any] = {}
        for _ in range(n_rounds + 1):
            for name, groups in (("plain", plain), ("ray", on_ray)):
                with counted(processes[name]) as found:
                    answers[name] = search_groups(
                        groups, queries[:n_queries], N_BITS, top_k=top_k, engine="scan"
                    )
                times[name].append(found)
        assert np.array_equal(answers["plain"].rows, answers["ray"].rows)
        (plain_wall, plain_cpu), (ray_wall, ray_cpu) = (
            [statistics.median(values) for values in zip(*times[name][1:], strict=True)]
            for name in ("plain", "ray")
        )
        print(
            f"search {n_queries} x {top_k:,}: plain {plain_wall * 1e3:,.1f} ms, Ray "
            f"{ray_wall * 1e3:,.1f} ms ({(ray_wall - plain_wall) * 1e3:+.1f} ms, "
            f"{ray_wall / plain_wall - 1:+.1%}); CPU {plain_cpu * 1e3:,.0f} and "
            f"{ray_cpu * 1e3:,.0f} ms ({ray_cpu / plain_cpu - 1:+.1%})",
            flush=True,
        )
    plain_engine.close()
    on_ray.close()
    ray_engine.close()


def longest_wait(search: Callable[[], None], seconds: float, fail: Callable[[], None]) -> float:
    """Longest of the searches of some seconds, in which something fails."""
    search()
    fail()
    longest, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        search()
        longest = max(longest, time.perf_counter() - start)
    return longest


def measure_waits(one: Cluster, banks: list[Bank], n_replicas: int) -> None:
    """Print the longest wait of batches of 16 queries after an actor and nodes fail."""
    from hashkit.cluster.ray_engine import RayEngine

    queries = np.random.default_rng(1).integers(0, 256, (16, N_BITS // 8), np.uint8)
    engine = RayEngine(one.address)
    groups = ShardGroups(engine, banks, n_groups=2, n_replicas=n_replicas, n_threads=1)

    def search() -> None:
        search_groups(groups, queries, N_BITS, top_k=10, engine="scan")

    def kill_actor() -> None:
        for node in one.nodes:
            for worker in node.workers("_Host")[:1]:
                os.kill(worker, signal.SIGKILL)
                return

    start = time.perf_counter()
    search()
    usual = time.perf_counter() - start
    seconds = 10.0 if n_replicas > 1 else 100.0
    actor = longest_wait(search, 10, kill_actor)
    hung = longest_wait(search, seconds, one.nodes[0].stop)
    one.nodes[0].go_on()
    time.sleep(5)
    killed = longest_wait(search, seconds, one.nodes[1].kill)
    groups.close()
    engine.close()
    one.restore(2)
    print(
        f"longest wait with {n_replicas} replicas (usually {usual:.2f} s): actor killed "
        f"{actor:.1f} s, node stopped {hung:.1f} s, node killed {killed:.1f} s",
        flush=True,
    )


def compare_encoding(one: Cluster, folder: Path, n_images: int, n_shards: int) -> None:
    """Print CPU time of a set made by two plain processes, and by Ray."""
    photos = folder / "photos"
    write_photos(photos, n_images, 300, 400)
    common = ["encode", str(photos), "--model", "phash", "--device", "cpu"]
    command = [sys.executable, "-c", "from hashkit.cli import main; main()", *common]
    single = ["--num-workers", "1"]
    in_shards, address = ["--shards", str(n_shards)], ["--address", one.address]

    def plain(out: Path) -> None:
        script = (
            "import subprocess, sys\nfrom concurrent.futures import ThreadPoolExecutor\n"
            "def run(i): subprocess.run([*sys.argv[2:], '--shard', f'{i}/' + sys.argv[1]],"
            " check=True)\n"
            "n = int(sys.argv[1])\n"
            "with ThreadPoolExecutor(2) as pool: list(pool.map(run, range(1, n + 1)))"
        )
        n = str(n_shards)
        subprocess.run(
            [sys.executable, "-c", script, n, *command, *single, "--out", str(out)],
            check=True,
            capture_output=True,
        )

    def in_one(out: Path) -> None:
        subprocess.run(
            [*command, *in_shards, "--out", str(out)],
            check=True,
            capture_output=True,
        )

    def on_ray(out: Path) -> None:
        subprocess.run(
            [*command, *in_shards, "--out", str(out), "--cluster", "ray", *address],
            check=True,
            capture_output=True,
            env=one.environment,
        )

    ways = {"one process": in_one, "Ray": on_ray}
    if n_shards <= 16:  # a process for each shard, which imports everything again
        ways["a process per shard"] = plain
    for name, run in ways.items():
        children = os.times()
        with counted(one.processes if name == "Ray" else list) as found:
            run(folder / name.replace(" ", "-"))
        now = os.times()
        own = sum(now[2:4]) - sum(children[2:4])
        print(
            f"encode {n_images:,} images in {n_shards} shards, {name}: {found[0]:.1f} s, "
            f"{found[1] + own:.1f} s of CPU time",
            flush=True,
        )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of each of four banks")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", choices=("search", "waits", "encode"))
    arguments = parser.parse_args()
    print(processor())
    with tempfile.TemporaryDirectory() as name, cluster(Path(name), 2, cpus=1) as one:
        for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ[variable] = one.environment[variable]
        if arguments.only != "encode":
            banks = write_shards(Path(name), arguments.rows)
        if arguments.only in (None, "search"):
            compare_searches(one, banks, arguments.rounds)
        if arguments.only in (None, "encode"):
            compare_encoding(one, Path(name), arguments.images, arguments.shards)
        if arguments.only in (None, "waits"):
            for n_replicas in (2, 1):
                measure_waits(one, banks, n_replicas)


if __name__ == "__main__":
    main()
