"""Measures time and memory of a model in a runtime, in the calling process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.runtimes.answers import answers_of
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.measuring.peak_memory import peak_memory
from hashkit.runtimes.settings import GPU_PROVIDERS

__all__ = ["BatchTiming", "Measurement", "MeasuringJob", "OpenEncoder", "measure"]

OpenEncoder = Callable[[int | None], Encoder]
"""Opens the model; the argument is the batch size on a GPU, or None."""

_FEWEST_REPEATS: Final = 3


@dataclasses.dataclass(frozen=True)
class MeasuringJob:
    """What to measure; every field can be stored as JSON.

    Attributes
    ----------
    model
        Path of the model.
    runtime, device, profile
        As in `hashkit.runtimes.settings.RuntimeSettings`.
    images
        Path of the images, a NumPy array uint8 [n, height, width, 3] at the model's size, n > 0.
    answers
        Path to write codes and logits of all images to; see `hashkit.runtimes.answers.Answers`.
    batch_sizes
        Batch sizes to time.
    seconds
        Time to repeat each batch size for, at least three times.
    only_start
        Whether to measure only the start.
    weights_sha256
        SHA-256 that the weights of a checkpoint must have; empty for any.
    network
        Name of the network of a checkpoint, if the user gave it.
    """

    model: str
    runtime: str
    device: str
    profile: str
    images: str
    answers: str
    batch_sizes: tuple[int, ...]
    seconds: float
    only_start: bool = False
    weights_sha256: str = ""
    network: str | None = None

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> MeasuringJob:
        """Make a job from JSON values."""
        return cls(**{**fields, "batch_sizes": tuple(fields["batch_sizes"])})


@dataclasses.dataclass(frozen=True)
class BatchTiming:
    """Timing of batches of one size.

    Attributes
    ----------
    batch_size
        Images per batch.
    n_repeats
        Timed batches, after one warm-up batch.
    seconds_median, seconds_p95
        Median and 95th percentile of the times; the latter is one of the measured times.
    """

    batch_size: int
    n_repeats: int
    seconds_median: float
    seconds_p95: float

    @property
    def images_per_second(self) -> float:
        """Images per second at the median time."""
        return self.batch_size / self.seconds_median

    @property
    def images_per_second_p95(self) -> float:
        """Images per second that 19 of 20 batches reached."""
        return self.batch_size / self.seconds_p95


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Time and memory of a model in a runtime.

    Attributes
    ----------
    runtime, provider, precision
        Runtime with version, provider in use, arithmetic of the network.
    start_seconds
        Time from opening the model, including the import of its runtime, to the first codes.
    peak_memory_bytes
        Peak memory of the process up to the last timed batch; None if unknown.
    timings
        One per batch size; empty if only the start was measured.
    """

    runtime: str
    provider: str
    precision: str
    start_seconds: float
    peak_memory_bytes: int | None = None
    timings: tuple[BatchTiming, ...] = ()

    @property
    def best(self) -> BatchTiming:
        """The batch size with the most images per second; the smallest of equals."""
        return max(self.timings, key=lambda one: one.images_per_second)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Measurement:
        """Make a measurement from JSON values."""
        timings = tuple(BatchTiming(**one) for one in fields["timings"])
        return cls(**{**fields, "timings": timings})


def measure(
    open_encoder: OpenEncoder, job: MeasuringJob, say: Callable[[str], None]
) -> Measurement:
    """Measure start, batches and memory, then write codes and logits of the images.

    Start time and memory are only meaningful in a fresh process.

    Parameters
    ----------
    open_encoder
        Opens the model. On a GPU it is opened again for each batch size, because a runtime may
        fix its batch size when it opens a model.
    job
        What to measure.
    say
        Called after each step with its name.

    Raises
    ------
    ModelError, DeviceError
        If the model cannot be opened or run.
    """
    images: NDArray[np.uint8] = np.load(job.images, mmap_mode="r", allow_pickle=False)
    first = np.array(images[:1])
    started = time.perf_counter()
    encoder = open_encoder(None)
    encoder.run(first)
    start_seconds = time.perf_counter() - started
    say("start")
    about = (encoder.runtime, encoder.provider, encoder.precision, start_seconds)
    if job.only_start:
        return Measurement(*about)
    timings = []
    for batch_size in job.batch_sizes:
        is_bound = encoder.provider in GPU_PROVIDERS
        timed = open_encoder(batch_size) if is_bound else encoder
        batch = np.array(images[np.arange(batch_size) % len(images)])
        timings.append(_time(timed, batch, job.seconds))
        say(f"batch {batch_size}")
    # Before all images are read, because their pages would count as memory of this process.
    peak = peak_memory()
    # In batches of the size that `hashkit encode` uses.
    answers_of(encoder.run, [images], default_batch_size(encoder)).save(Path(job.answers))
    say("answers")
    return Measurement(*about, peak, tuple(timings))


def _time(encoder: Encoder, batch: NDArray[np.uint8], seconds: float) -> BatchTiming:
    encoder.run(batch)  # makes buffers and chooses kernels for this shape
    times: list[float] = []
    began = time.perf_counter()
    # Limited by time, not by number: a few fast batches fit into one time slice of the scheduler,
    # and would look faster than batches that share the CPU.
    while len(times) < _FEWEST_REPEATS or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        encoder.run(batch)
        times.append(time.perf_counter() - started)
    p95 = float(np.quantile(times, 0.95, method="inverted_cdf"))
    return BatchTiming(len(batch), len(times), float(np.median(times)), p95)
