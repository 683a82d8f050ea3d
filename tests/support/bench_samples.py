"""Models with known answers for `hashkit bench`, measured without starting processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import pytest
from linear_models import linear_model
from numpy.typing import NDArray
from PIL import Image

from hashkit.cli.bench_output import bench_document
from hashkit.codes import binarize
from hashkit.exporters.agreement import Sample
from hashkit.exporters.bench import comparison
from hashkit.exporters.bench.comparison import BenchRow
from hashkit.exporters.bench.contenders import BenchModel, Wanted, contenders, read_models
from hashkit.exporters.bench.settings import BenchSettings, Floors
from hashkit.runtimes.answers import Answers
from hashkit.runtimes.contract import PRECISION_KEY
from hashkit.runtimes.measuring.measuring import BatchTiming, Measurement, MeasuringJob
from hashkit.runtimes.measuring.process import Outcome
from hashkit.workflow.bench import BenchSubject, TrialSet

N_BITS, HEIGHT, WIDTH = 12, 4, 5

SETTINGS = BenchSettings((1, 4), n_starts=2, n_slow_images=5)
NO_DRIVER = Outcome("absent", None, "there is no NVIDIA driver")
NO_GPU = {(name, "cuda"): NO_DRIVER for name in ("onnxruntime", "onnxruntime-tensorrt")}
NO_OPENVINO = Outcome(
    "absent", None, "openvino is not installed: pip install '.[openvino]' (in a clone of hashkit)"
)


def model_of(path: Path, precision: str, seed: int = 0, **metadata: str) -> Path:
    """A `linear_model` with a precision in its metadata; another seed gives another model."""
    return linear_model(path, seed=seed, metadata={PRECISION_KEY: f'"{precision}"', **metadata})


def models(folder: Path) -> list[BenchModel]:
    """Models in fp32 and int8 with different weights."""
    paths = [
        model_of(folder / "model.onnx", "fp32"),
        model_of(folder / "model-int8.onnx", "int8", 1),
    ]
    return read_models(paths)


def sample(*, has_labels: bool = True) -> Sample:
    """Nine queries and seventy database images."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (79, HEIGHT, WIDTH, 3), np.uint8)
    labels = np.arange(79) % 3
    if not has_labels:
        return Sample(pixels[:9], pixels[9:])
    return Sample(pixels[:9], pixels[9:], labels[:9], labels[9:])


def answers_of(model: str | Path, pixels: NDArray[np.uint8]) -> Answers:
    """Answers of a model of this module, computed with NumPy."""
    weights = next(one for one in onnx.load(model).graph.initializer if one.name == "weights")
    flat = pixels.reshape(len(pixels), -1) - np.float32(127.5)
    logits = flat @ onnx.numpy_helper.to_array(weights)
    return Answers(binarize(logits), logits)


class Call(NamedTuple):
    """Arguments of a call of `measure_apart`."""

    job: MeasuringJob
    n_images: int
    n_starts: int
    timeout_seconds: float
    worker: str


class StandIn:
    """A `measure_apart` that computes in this process, takes no time, and records its ``calls``.

    Parameters
    ----------
    outcomes
        Outcomes to return instead, by runtime and device.
    change
        Changes the answers.
    """

    def __init__(
        self,
        outcomes: Mapping[tuple[str, str], Outcome] | None = None,
        change: Callable[[MeasuringJob, Answers], Answers] | None = None,
    ) -> None:
        self._outcomes = outcomes or {}
        self._change = change
        self.calls: list[Call] = []

    def __call__(self, job: MeasuringJob, *, n_starts, timeout_seconds, worker, step) -> Outcome:
        pixels = np.load(job.images)
        self.calls.append(Call(job, len(pixels), n_starts, timeout_seconds, worker))
        ended = self._outcomes.get((job.runtime, job.device))
        if ended is not None:
            return ended
        answers = answers_of(job.model, pixels)
        if self._change is not None:
            answers = self._change(job, answers)
        answers.save(Path(job.answers))
        for name in ["start"] * n_starts + ["batch"] * len(job.batch_sizes) + ["answers"]:
            step(name)
        timings = tuple(BatchTiming(size, 3, 0.01 * size**0.5, 0.02) for size in job.batch_sizes)
        about = (f"{job.runtime} 1.0", f"{job.device.upper()}ExecutionProvider", "fp32")
        return Outcome("ok", Measurement(*about, 0.5, 80_000_000, timings))


def measured(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    wanted: Wanted | None = None,
    floors: Floors | None = None,
    images: Sample | None = None,
    outcomes: Mapping[tuple[str, str], Outcome] | None = None,
    change: Callable[[MeasuringJob, Answers], Answers] | None = None,
) -> list[BenchRow]:
    """Rows of both models on a machine without a GPU, with a stand-in for the processes."""
    stand_in = StandIn(NO_GPU | (outcomes or {}), change)
    monkeypatch.setattr(comparison, "measure_apart", stand_in)
    rows = contenders(models(folder), wanted or Wanted())
    return comparison.bench(rows, images or sample(), SETTINGS, floors or Floors())


def document_of(
    folder: Path,
    rows: list[BenchRow],
    images: Sample | None = None,
    *,
    is_random: bool = False,
    floors: Floors | None = None,
    wanted: Wanted | None = None,
) -> dict:
    """The JSON document of rows."""
    subject = BenchSubject("a <b>", models(folder))
    trial = TrialSet(images or sample(), "noise | and more", is_random)
    return bench_document(subject, trial, SETTINGS, floors or Floors(), wanted or Wanted(), rows)


def write_photos(folder: Path, per_class: int = 6) -> None:
    """Write random pixels as three class folders: images with labels, but nothing to learn."""
    rng = np.random.default_rng(0)
    for label in ("nought", "one", "two"):
        (folder / label).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
