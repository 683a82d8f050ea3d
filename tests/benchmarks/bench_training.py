"""Compares the speed of the training loop with that of the bare network.

    python tests/benchmarks/bench_training.py
    python tests/benchmarks/bench_training.py --device cuda --precision bf16 --rounds 9

Rounds of `Trainer.fit` on images of CIFAR's shape (order, augmentation, normalisation, loss,
clipping, solver, metrics) alternate with forward and backward passes of the network alone on a
random tensor of the same batch size. Both use the same network, layout and precision. Each round of
the loop is one call that continues the run and ends with a snapshot; the snapshot is timed
separately and not counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hashkit.machine import processor
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.threads import cpu_affinity
from hashkit.training.data import MemoryPixels, TrainingData
from hashkit.training.devices import choose_device
from hashkit.training.trainer import Trainer

N_CLASSES = 10


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", default="dnnh", help="network by name")
    parser.add_argument(
        "--loss", default="triplet", help="loss by name; one that learns from labels"
    )
    parser.add_argument("--optimiser", default="sgd", help="sgd or muon")
    parser.add_argument("--bits", type=int, default=48, help="bits per code")
    parser.add_argument("--size", type=int, default=32, help="height and width, pixels")
    parser.add_argument("--batch-size", type=int, default=100, help="images per step")
    parser.add_argument("--n-images", type=int, default=2000, help="training images")
    parser.add_argument("--steps", type=int, default=10, help="steps per round")
    parser.add_argument("--rounds", type=int, default=7, help="repetitions of each measurement")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or fp16")
    args = parser.parse_args()
    config = TrainConfig(
        network=args.network,
        loss=args.loss,
        optimiser=args.optimiser,
        clip_norm=1.0,
        lengths=(args.bits,),
        height=args.size,
        width=args.size,
        batch_size=args.batch_size,
        # Never reached: ``should_stop`` ends each round.
        steps=args.steps * (args.rounds + 2),
        holdout=0.0,
        augmentation="shift-flip",
        cutout=0.0,
        snapshot_steps=10**9,
        keep_snapshots=1,
        precision=args.precision,
    )
    device = choose_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "run", RunConfig())
        trainer = Trainer(config, synthetic_data(args.n_images, args.size), run, device)
        compare(trainer, args.steps, args.rounds)


def synthetic_data(n_images: int, side: int) -> TrainingData:
    """Labelled noise, because the content of images does not affect the speed."""
    rng = np.random.default_rng(0)
    return TrainingData(
        pixels=MemoryPixels(rng.integers(0, 256, (n_images, side, side, 3), dtype=np.uint8)),
        labels=rng.integers(0, N_CLASSES, n_images),
        triplets=None,
        fit_items=np.arange(n_images),
        held_items=np.arange(0),
        dataset="synthetic",
    )


def compare(trainer: Trainer, n_steps: int, n_rounds: int) -> None:
    """Time both ``n_rounds`` times after a warm-up round, and print their ratio."""
    bare_round = bare_network(trainer)
    bare, loop, snapshots = [], [], []
    for index in range(n_rounds + 1):
        # The order alternates, so that a drift of the machine favours neither.
        for way in ("bare", "loop") if index % 2 else ("loop", "bare"):
            if way == "bare":
                seconds = bare_round(n_steps)
            else:
                seconds, snapshot_seconds = loop_round(trainer, n_steps)
            if not index:
                continue
            if way == "bare":
                bare.append(seconds)
            else:
                loop.append(seconds)
                snapshots.append(snapshot_seconds)
    n_images = n_steps * trainer.config.batch_size
    ratios = [a / b for a, b in zip(bare, loop, strict=True)]
    config = trainer.config
    print(f"machine          {machine(trainer.device)}")
    print(f"network          {config.network}, {config.lengths[0]} bits, {config.precision}")
    print(f"loss, solver     {config.loss}, {config.optimiser}")
    print(f"images           {config.height}x{config.width}, batch {config.batch_size}")
    print(f"rounds           {n_rounds} of {n_steps} steps")
    print(f"bare network     {n_images / statistics.median(bare):8.1f} images/s")
    print(f"training loop    {n_images / statistics.median(loop):8.1f} images/s")
    print(f"one snapshot     {statistics.median(snapshots):8.3f} s, not counted")
    print(
        f"training loop at {statistics.median(ratios):.1%} of the bare network "
        f"(median; {min(ratios):.1%} to {max(ratios):.1%}); the target is 95%"
    )


def bare_network(trainer: Trainer) -> Callable[[int], float]:
    """A function that runs forward and backward passes and returns the seconds."""
    config, device = trainer.config, trainer.device
    shape = (config.batch_size, 3, config.height, config.width)
    batch = torch.randn(shape, device=device)
    if config.channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)
    model = trainer.learner.model
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def run(n_steps: int) -> float:
        model.train()
        synchronise(device)
        started = time.perf_counter()
        for _ in range(n_steps):
            for parameter in learned:
                parameter.grad = None
            with trainer.stepper.autocast():
                logits = model.logits(model.network(batch))
            logits.float().sum().backward()
        synchronise(device)
        return time.perf_counter() - started

    return run


def loop_round(trainer: Trainer, n_steps: int) -> tuple[float, float]:
    """Seconds of ``n_steps`` steps of the loop, and of the snapshot after them."""
    end = trainer.step + n_steps
    stopped: list[float] = []

    def should_stop() -> bool:
        if trainer.step < end:
            return False
        if not stopped:
            synchronise(trainer.device)
            stopped.append(time.perf_counter())
        return True

    synchronise(trainer.device)
    started = time.perf_counter()
    trainer.fit(should_stop=should_stop)
    finished = time.perf_counter()
    return stopped[0] - started, finished - stopped[0]


def synchronise(device: torch.device) -> None:
    """Wait until the GPU is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> str:
    """CPU or GPU, usable cores, and versions."""
    name = processor()
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)}; {name}"
    n_threads = torch.get_num_threads()
    return f"{name}, {cpu_affinity()} cores, {n_threads} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
