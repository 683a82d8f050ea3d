"""Compares the training time of recipes to a given score.

    python tests/benchmarks/bench_learning.py
    python tests/benchmarks/bench_learning.py --data cifar10 --data-root IMAGES --size 32 \\
        --protocol cifar10-59k --steps 500 --every 50 --targets 0.3,0.4,0.5

Trains the recipes in order on the same images for the same number of steps, and validates at
regular intervals: mean average precision, over tie orders, of held-out images. Prints the seconds
of training to each score, without validation, and their ratio to those of the first recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import torch
from bench_training import machine

from hashkit.datasets.sets import default_input_size
from hashkit.datasets.spec import open_spec
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.training.devices import choose_device
from hashkit.training.prepare import prepare_labelled
from hashkit.training.recipes import RECIPES
from hashkit.training.trainer import Trainer


def main() -> None:
    """Train each recipe and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipes", default="paper,best", help="names, separated by commas")
    parser.add_argument("--data", default="digits", help="image set")
    parser.add_argument("--data-root", help="folder with its files")
    parser.add_argument("--protocol", default="", help="protocol that splits it")
    parser.add_argument("--size", type=int, help="height and width, pixels")
    parser.add_argument("--bits", type=int, default=48, help="bits per code")
    parser.add_argument("--steps", type=int, default=150, help="steps per recipe")
    parser.add_argument("--every", type=int, default=10, help="steps between validations")
    parser.add_argument("--targets", default="0.5,0.7,0.9", help="scores, separated by commas")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    args = parser.parse_args()
    device = choose_device(args.device)
    print(f"machine  {machine(device)}")
    print(f"images   {args.data} {args.protocol}".rstrip() + f", {args.bits} bits")
    curves = {name: curve(name, args, device) for name in args.recipes.split(",")}
    for name, points in curves.items():
        seconds, score = points[-1]
        print(f"{name:12} {args.steps} steps in {seconds:.1f} s, final score {score:.3f}")
    for target in map(float, args.targets.split(",")):
        print(f"score {target:.2f}  {comparison(curves, target)}")


def comparison(curves: dict[str, list[tuple[float, float]]], target: float) -> str:
    """Seconds to a score for each recipe, with the speed-up over the first recipe."""
    first = None
    parts = []
    for name, points in curves.items():
        needed = next((seconds for seconds, score in points if score >= target), None)
        if needed is None:
            parts.append(f"{name} not reached")
            continue
        ratio = "" if first is None else f" ({first / needed:.1f} times as fast)"
        first = needed if first is None else first
        parts.append(f"{name} {needed:.1f} s{ratio}")
    return ", ".join(parts)


def curve(recipe: str, args: argparse.Namespace, device: torch.device) -> list[tuple[float, float]]:
    """(seconds of training, score) at each validation."""
    spec = DataSpec(data=args.data, root=args.data_root, protocol=args.protocol)
    images, split = open_spec(spec)
    height, width = (args.size, args.size) if args.size else default_input_size(images) or (64, 64)
    config = dataclasses.replace(
        RECIPES[recipe].config,
        lengths=(args.bits,),
        height=height,
        width=width,
        steps=args.steps,
        validate_epochs=10**9,
        snapshot_steps=10**9,
    )
    data, _ = prepare_labelled(images.subset(split.training), config)
    points = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, data, Run.create(Path(folder), "run", RunConfig()), device)
        spent = 0.0
        while trainer.step < trainer.n_steps:
            end = min(trainer.step + args.every, trainer.n_steps)
            started = time.perf_counter()
            trainer.fit(should_stop=lambda end=end: trainer.step >= end)  # type: ignore[misc]
            spent += time.perf_counter() - started
            points.append((spent, trainer.score_held_out()))
    return points


if __name__ == "__main__":
    main()
