"""Models of known answers for `hashkit bench`, measured without a process: fast, and exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from small_models import linear_model, linear_weights

from hashkit.codes import binarize
from hashkit.exporters.agreement import Sample
from hashkit.exporters.contenders import Candidate, read_candidates
from hashkit.runtimes.answers import Answers
from hashkit.runtimes.contract import PRECISION_KEY
from hashkit.runtimes.measuring import BatchTiming, Measurement, MeasuringJob
from hashkit.runtimes.measuring_process import Outcome

N_BITS, HEIGHT, WIDTH = 12, 4, 5


def model_of(path: Path, precision: str, seed: int = 0, **metadata: str) -> Path:
    """A `linear_model` that says it is of a precision; another seed is another model."""
    return linear_model(path, seed=seed, metadata={PRECISION_KEY: f'"{precision}"', **metadata})


def candidates(folder: Path) -> list[Candidate]:
    """Models in fp32 and int8; the second has other weights."""
    paths = [
        model_of(folder / "model.onnx", "fp32"),
        model_of(folder / "model-int8.onnx", "int8", 1),
    ]
    return read_candidates(paths)


def sample(*, has_labels: bool = True) -> Sample:
    """Nine queries and seventy images of a database."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (79, HEIGHT, WIDTH, 3), np.uint8)
    labels = np.arange(79) % 3
    if not has_labels:
        return Sample(pixels[:9], pixels[9:])
    return Sample(pixels[:9], pixels[9:], labels[:9], labels[9:])


def answers_of(model: str | Path, pixels: NDArray[np.uint8]) -> Answers:
    """What a model of this module gives, by NumPy."""
    weights = next(one for one in onnx.load(model).graph.initializer if one.name == "weights")
    flat = pixels.reshape(len(pixels), -1) - np.float32(127.5)
    logits = flat @ onnx.numpy_helper.to_array(weights)
    return Answers(binarize(logits), logits)


def stand_in(
    outcomes: dict[tuple[str, str], Outcome] | None = None,
    change: Callable[[MeasuringJob, Answers], Answers] | None = None,
) -> Callable[..., Outcome]:
    """A `measure_apart` that computes here, takes no time, and keeps its ``jobs``.

    Parameters
    ----------
    outcomes
        By runtime and device, how some end instead.
    change
        What some answer instead.
    """
    jobs: list[MeasuringJob] = []

    def measure_apart(job: MeasuringJob, *, n_starts, timeout_seconds, worker, step) -> Outcome:
        jobs.append(job)
        ended = (outcomes or {}).get((job.runtime, job.device))
        if ended is not None:
            return ended
        answers = answers_of(job.model, np.load(job.images))
        if change is not None:
            answers = change(job, answers)
        answers.save(Path(job.answers))
        for name in ["start"] * n_starts + ["batch"] * len(job.batch_sizes) + ["answers"]:
            step(name)
        timings = tuple(BatchTiming(size, 3, 0.01 * size**0.5, 0.02) for size in job.batch_sizes)
        about = (f"{job.runtime} 1.0", f"{job.device.upper()}ExecutionProvider", "fp32")
        return Outcome("ok", Measurement(*about, 0.5, 80_000_000, timings))

    measure_apart.jobs = jobs  # type: ignore[attr-defined]
    return measure_apart


def weights_of(seed: int) -> NDArray[np.float32]:
    """Weights of `model_of`."""
    return linear_weights(HEIGHT * WIDTH * 3, N_BITS, seed)
