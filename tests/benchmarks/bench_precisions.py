"""What a run's model loses and gains in float16 and int8, on its own images.

    python tests/benchmarks/bench_precisions.py --run runs/first
    python tests/benchmarks/bench_precisions.py --run runs/first --queries 200 --database 400

Writes the other precisions of the run's model.onnx into a temporary folder, compares each with
it, and times all of them in alternation, batch 64, on the CPU. The run is left as it is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hashkit.datasets.spec import open_spec
from hashkit.exporters import samples
from hashkit.exporters.precision import CONVERSIONS, PrecisionReport, export_precision
from hashkit.exporters.samples import TrialImages, draw_from_split
from hashkit.machine import processor
from hashkit.runs.run import Run
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.threads import cpu_affinity

BATCH = 64


def main() -> None:
    """Make, compare and time the precisions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, required=True, help="a run with a model.onnx")
    parser.add_argument("--queries", type=int, default=1000, help="queries to compare on")
    parser.add_argument("--database", type=int, default=1000, help="database images")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each timing")
    args = parser.parse_args()
    samples.N_QUERIES, samples.N_DATABASE = args.queries, args.database
    run = Run.open(args.run)
    manifest = read_onnx_file(run.model_path).manifest
    spec = run.read_config().data
    images = draw_from_split(*open_spec(spec), manifest)
    print(f"machine   {machine()}")
    print(f"model     {manifest.network}, {manifest.n_bits} bits, {manifest.height} pixels")
    print(f"images    {spec.data}: {args.queries} queries, {args.database} of the database")
    with tempfile.TemporaryDirectory() as folder:
        paths = {"fp32": run.model_path}
        for precision in CONVERSIONS:
            paths[precision] = Path(folder) / f"{precision}.onnx"
            say(precision, convert(run, paths[precision], precision, images))
        compare_speed(paths, images.sample.queries[:BATCH], args.rounds)


def convert(run: Run, path: Path, precision: str, images: TrialImages) -> PrecisionReport:
    """Make one precision, whatever it loses."""
    return export_precision(
        run.model_path,
        path,
        precision,
        calibration=images.calibration,
        sample=images.sample,
        allow_loss=True,
    )


def say(precision: str, report: PrecisionReport) -> None:
    """Print what one precision loses."""
    share = report.n_bytes / report.n_bytes_source
    print(f"{precision:8}  {report.n_bytes / 1e6:.2f} MB, {share:.1%} of fp32")
    print(f"          {report.agreement.summary()}")
    print(f"          logits within 1e-4 of 0: {report.agreement.near_zero * 1e6:.0f} of a million")
    if report.kept:
        print(f"          {len(report.quantised)} convolutions int8, {len(report.kept)} float32")
    for excess in report.excesses:
        print(f"          beyond the tolerance: {excess}")


def compare_speed(paths: dict[str, Path], batch: NDArray[np.uint8], rounds: int) -> None:
    """Time all files in alternation, and print the ratios to fp32."""
    sessions = {name: OnnxRuntimeSession(path, "cpu") for name, path in paths.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(batch)
            seconds[name].append(time.perf_counter() - started)
    rate = len(batch) / statistics.median(seconds["fp32"])
    print(f"fp32      {rate:.0f} images/s")
    for name in paths.keys() - {"fp32"}:
        ratios = [a / b for a, b in zip(seconds["fp32"], seconds[name], strict=True)]
        print(
            f"{name:8}  {statistics.median(ratios):.2f} times the speed of fp32 "
            f"({min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)"
        )


def machine() -> str:
    """CPU, usable cores, and version."""
    return f"{processor()}, {cpu_affinity()} cores, onnxruntime {onnxruntime.__version__}"


if __name__ == "__main__":
    main()
