"""What one model in one runtime costs, measured in the process that calls this."""

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
"""Opens the model; the argument is the batch size that a GPU is to be given, or None."""

_FEWEST_REPEATS: Final = 3


@dataclasses.dataclass(frozen=True)
class MeasuringJob:
    """What is to be measured; every field survives JSON.

    Attributes
    ----------
    model
        The model's file.
    runtime, device, profile
        As in `hashkit.runtimes.settings.RuntimeSettings`.
    images
        File of the images, a NumPy array uint8 [n, height, width, 3] at the model's size, n > 0.
    answers
        File that codes and logits of all of them are written to; see
        `hashkit.runtimes.answers.Answers`.
    batch_sizes
        Batch sizes that are timed.
    seconds
        Each batch size is repeated for this long, three times at least.
    only_start
        Measure the start alone.
    weights_sha256
        Weights that a checkpoint must have; empty for any.
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

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> MeasuringJob:
        """Job of JSON's values."""
        return cls(**{**fields, "batch_sizes": tuple(fields["batch_sizes"])})


@dataclasses.dataclass(frozen=True)
class BatchTiming:
    """How long batches of one size took.

    Attributes
    ----------
    batch_size
        Images a batch.
    n_repeats
        Batches timed, after one that was not.
    seconds_median, seconds_p95
        Median of their times, and the time that 19 of 20 did not exceed (one of those measured).
    """

    batch_size: int
    n_repeats: int
    seconds_median: float
    seconds_p95: float

    @property
    def images_per_second(self) -> float:
        """Images a second by the median."""
        return self.batch_size / self.seconds_median

    @property
    def images_per_second_p95(self) -> float:
        """Images a second that 19 of 20 batches reached."""
        return self.batch_size / self.seconds_p95


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a model in a runtime costs here.

    Attributes
    ----------
    runtime, provider, precision
        What computed: name with version, what it really ran on, arithmetic of the network.
    start_seconds
        From opening the model, the import of its runtime included, to the codes of one image.
    peak_memory_bytes
        The most memory that the process held up to the last timed batch; None if not known.
    timings
        One for each batch size; empty if only the start was measured.
    """

    runtime: str
    provider: str
    precision: str
    start_seconds: float
    peak_memory_bytes: int | None = None
    timings: tuple[BatchTiming, ...] = ()

    @property
    def best(self) -> BatchTiming:
        """The batch size of the most images a second; the smallest among equals."""
        return max(self.timings, key=lambda one: one.images_per_second)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Measurement:
        """Measurement of JSON's values."""
        timings = tuple(BatchTiming(**one) for one in fields["timings"])
        return cls(**{**fields, "timings": timings})


def measure(
    open_encoder: OpenEncoder, job: MeasuringJob, say: Callable[[str], None]
) -> Measurement:
    """Measure start, batches and memory, and then let the model answer the images.

    The figures of start and memory mean something in a fresh process alone.

    Parameters
    ----------
    open_encoder
        Opens the model. On a GPU it is opened anew for each batch size, as a runtime may be bound
        to the one that it was opened with.
    job
        What to measure.
    say
        Called after each step with its name.

    Raises
    ------
    ModelError, DeviceError
        If the model cannot be opened or run.
    """
    images: NDArray[np.uint8] = np.load(job.images, mmap_mode="r")
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
    # Before the images are gone through, whose pages would count as memory of this process.
    peak = peak_memory()
    # In the batches in which `hashkit encode` runs the model.
    answers_of(encoder.run, [images], default_batch_size(encoder)).save(Path(job.answers))
    say("answers")
    return Measurement(*about, peak, tuple(timings))


def _time(encoder: Encoder, batch: NDArray[np.uint8], seconds: float) -> BatchTiming:
    encoder.run(batch)  # makes buffers and chooses kernels for this shape
    times: list[float] = []
    began = time.perf_counter()
    # By time and not by number: a few fast batches fit into one turn of the system's scheduler,
    # and would look faster than any that have to share the processor.
    while len(times) < _FEWEST_REPEATS or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        encoder.run(batch)
        times.append(time.perf_counter() - started)
    p95 = float(np.quantile(times, 0.95, method="inverted_cdf"))
    return BatchTiming(len(batch), len(times), float(np.median(times)), p95)
