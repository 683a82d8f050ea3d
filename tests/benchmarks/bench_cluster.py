"""What Ray costs over plain processes, and how long searches wait when actors and nodes fail.

python tests/benchmarks/bench_cluster.py [--rows 10000000] [--images 6000] [--rounds 9]

A cluster of a head and two nodes runs on this machine, each node with one CPU. Searches go to four
banks in two actors of one thread; plain processes on pipes run the same classes. Encoding runs the
same function for each shard in tasks and in two plain processes. CPU time is that of all
processes, Ray's own included; on a machine that does other work it is the more reliable number.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
from hashkit.cluster.encode_jobs import EncodeWork, encode_one_shard, plan_set
from hashkit.cluster.encoding import encode_on_cluster
from hashkit.cluster.engine import Resources
from hashkit.cluster.groups import ShardGroups
from hashkit.cluster.searching import search_groups
from hashkit.machine import processor
from hashkit.manifest import Manifest
from hashkit.runtimes.builtin import model_path
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.encoding import EncodeOptions
from hashkit.workflow.images_to_shard import ImagesToShard

N_BITS, N_SHARDS = 64, 4
BATCHES = ((1, 10), (16, 10), (256, 10), (256, 1000))


def write_shards(folder: Path, n_rows: int) -> list[Bank]:
    """Banks of random codes, without names."""
    rng = np.random.default_rng(0)
    header = BankHeader(
        n_bits=N_BITS,
        manifest=Manifest(N_BITS, 32, 32),
        model_sha256="ab" * 32,
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
    """Measure a block; the list gets wall seconds, then CPU seconds of all these processes."""
    found: list[float] = []
    others = cpu_seconds_of(processes())  # takes CPU time itself, which is left out
    own, start = time.process_time(), time.perf_counter()
    yield found
    found.append(time.perf_counter() - start)
    own = time.process_time() - own
    found.append(own + cpu_seconds_of(processes()) - others)


def print_idle_cost(one: Cluster, seconds: float = 10.0) -> None:
    """Print the CPU time of an idle cluster, which every figure of Ray includes."""
    before = cpu_seconds_of(one.processes())
    time.sleep(seconds)
    share = (cpu_seconds_of(one.processes()) - before) / seconds
    print(f"Ray alone, a head and two nodes: {share:.1%} of one CPU", flush=True)


def compare_searches(one: Cluster, banks: list[Bank], n_rounds: int) -> None:
    """Print both engines' times of each batch, taken in turn."""
    from hashkit.cluster.ray_engine import RayEngine

    rng = np.random.default_rng(1)
    queries = rng.integers(0, 256, (256, N_BITS // 8), np.uint8)
    plain_engine, ray_engine = PlainEngine(), RayEngine(one.address)
    plain = ShardGroups(plain_engine, banks, n_groups=2, n_threads=1)
    on_ray = ShardGroups(ray_engine, banks, n_groups=2, n_threads=1)
    for groups in (
        plain,
        on_ray,
    ):  # a search process loads kernels when it has searched for a while
        groups.together([partial(part.call, "warm_up") for part in groups.parts])
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
    # Without replicas one search waits; when it is back, the failure is over.
    while time.perf_counter() < end and longest < seconds / 5:
        start = time.perf_counter()
        search()
        longest = max(longest, time.perf_counter() - start)
    return longest


def measure_waits(one: Cluster, banks: list[Bank], n_replicas: int) -> None:
    """Print the longest wait of batches of 16 queries after actors and nodes fail."""
    from hashkit.cluster.ray_engine import RayEngine

    queries = np.random.default_rng(1).integers(0, 256, (16, N_BITS // 8), np.uint8)

    def kill_actors() -> None:
        for worker in one.nodes[0].workers("_Host"):
            os.kill(worker, signal.SIGKILL)

    failures = {
        "actors of a node killed": kill_actors,
        "node stopped": lambda: one.nodes[0].stop(),
        "node killed": lambda: one.nodes[0].kill(),
    }
    for name, fail in failures.items():
        engine = RayEngine(one.address)
        # One group asks the first node, the other the second, until one fails.
        groups = ShardGroups(engine, banks, n_groups=2, n_replicas=n_replicas, n_threads=1)

        def search(groups: ShardGroups = groups) -> None:
            search_groups(groups, queries, N_BITS, top_k=10, engine="scan")

        search()
        time.sleep(5)  # until the replicas have started, too
        start = time.perf_counter()
        search()
        usual = time.perf_counter() - start
        wait = longest_wait(search, 8 if n_replicas > 1 else 100, fail)
        groups.close()
        engine.close()
        one.restore(2)
        print(f"{n_replicas} replicas, {name}: {wait:.1f} s (usually {usual:.1f} s)", flush=True)


def encode_shards(work: EncodeWork, shards: list[int]) -> None:
    """Encode some shards: the work of a plain process."""
    for shard in shards:
        encode_one_shard(work, shard)


def compare_encoding(
    one: Cluster, folder: Path, n_images: int, n_shards: int, n_turns: int
) -> None:
    """Print CPU time of sets made in turn by two plain processes and by Ray: the same function.

    A second run with another number of images separates the cost of a job from that of an image.
    """
    from hashkit.cluster.ray_engine import RayEngine

    photos = folder / "photos"
    write_photos(photos, n_images, 300, 400)
    wanted = ImagesToShard(str(photos))
    settings, options = RuntimeSettings(device="cpu", n_threads=1), EncodeOptions(n_workers=1)

    def work_of(name: str, turn: int) -> EncodeWork:
        return EncodeWork(folder / f"{name}-{turn}", model_path("phash"), settings, options)

    def plain(turn: int) -> float:
        work = work_of("plain", turn)
        plan_set(work, wanted, n_shards)
        context = multiprocessing.get_context("spawn")
        before = os.times()
        shares = [list(range(first, n_shards, 2)) for first in range(2)]
        processes = [context.Process(target=encode_shards, args=(work, own)) for own in shares]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return sum(os.times()[2:4]) - sum(before[2:4])

    def on_ray(turn: int) -> float:
        engine = RayEngine(one.address)
        before = cpu_seconds_of(one.processes()) + time.process_time()
        encode_on_cluster(engine, work_of("ray", turn), wanted, n_shards, Resources(cpus=1))
        cpu = cpu_seconds_of(one.processes()) + time.process_time() - before
        engine.close()  # which ends the workers
        return cpu

    found: dict[str, list[tuple[float, float]]] = {"two plain processes": [], "Ray": []}
    for turn in range(n_turns):
        for name, run in {"two plain processes": plain, "Ray": on_ray}.items():
            start = time.perf_counter()
            cpu = run(turn)
            found[name].append((time.perf_counter() - start, cpu))
    for name, pairs in found.items():
        seconds, cpu = (min(values) for values in zip(*pairs, strict=True))
        every = ", ".join(f"{one_cpu:.1f}" for _, one_cpu in pairs)
        print(
            f"encode {n_images:,} images in {n_shards} shards, {name}: {seconds:.1f} s, "
            f"{cpu:.1f} s of CPU time (least of {every})",
            flush=True,
        )


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of each of four banks")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--turns", type=int, default=3, help="encodings by each")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--replicas", type=int, nargs="*", default=[2, 1])
    parser.add_argument("--only", choices=("search", "waits", "encode"))
    arguments = parser.parse_args()
    print(processor())
    with tempfile.TemporaryDirectory() as name, cluster(Path(name), 2, cpus=1) as one:
        for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ[variable] = one.environment[variable]
        print_idle_cost(one)
        if arguments.only != "encode":
            banks = write_shards(Path(name), arguments.rows)
        if arguments.only in (None, "search"):
            compare_searches(one, banks, arguments.rounds)
        if arguments.only in (None, "encode"):
            compare_encoding(one, Path(name), arguments.images, arguments.shards, arguments.turns)
        if arguments.only in (None, "waits"):
            for n_replicas in arguments.replicas:
                measure_waits(one, banks, n_replicas)


if __name__ == "__main__":
    main()
