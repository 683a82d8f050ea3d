"""Compares training loop and bare network: rates, waits for the GPU, and idle time of the GPU."""

from __future__ import annotations

import collections
import contextlib
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from gpucheck.product_training import Learner, TrainConfig, Trainer, TrainingData, build_optimiser
from gpucheck.training import synchronise

__all__ = ["Bare", "busy_seconds", "compare", "count_waits", "loop_round"]


class Bare:
    """The computation of a step only, on uint8 noise images on the device.

    A step is forward pass (normalisation, network, heads), loss, backward pass, gradient clipping
    if it is set, and optimiser step, of a learner with the same settings, without data loading,
    augmentation and metrics. `passes` leaves out loss and optimiser and differentiates the sum of
    the logits. ``cudnn`` holds the cuDNN settings of the loop.
    """

    def __init__(self, config: TrainConfig, data: TrainingData, device: torch.device) -> None:
        self.config, self.device = config, device
        self.learner = Learner.build(config, data).to(device)
        self.learner.train()
        self.cudnn: dict[str, bool] = {}
        self.optimiser = build_optimiser(self.learner, config)
        draws = torch.Generator().manual_seed(0)
        shape = (config.batch_size, config.height, config.width, 3)
        images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
        labels = torch.randint(0, len(data.class_names), shape[:1], generator=draws)
        self.images, self.labels = images.to(device), labels.to(device)

    def step(self) -> None:
        """One step of training."""
        self.learner.begin_step(0.0)
        with self._autocast():
            features = self.learner.model.features(self.images)
            logits = self.learner.model.logits(features)
        loss = self.learner.loss(logits.float(), features, self.labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.value.backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.learner.parameters(), self.config.clip_norm)
        with self._autocast():
            self.optimiser.step()

    def passes(self) -> None:
        """One forward and backward pass."""
        self.optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            logits = self.learner.model.logits(self.learner.model.features(self.images))
        logits.float().sum().backward()  # type: ignore[no-untyped-call]

    def seconds(self, what: Callable[[], None], n_steps: int) -> float:
        """Seconds of ``n_steps`` calls of `step` or `passes`."""
        with torch.backends.cudnn.flags(enabled=True, **self.cudnn):
            synchronise(self.device)
            started = time.perf_counter()
            for _ in range(n_steps):
                what()
            synchronise(self.device)
            return time.perf_counter() - started

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def loop_round(
    trainer: Trainer,
    n_steps: int,
    on_start: Callable[[], None] = lambda: None,
    on_stop: Callable[[], None] = lambda: None,
) -> tuple[int, float, float]:
    """Continue a run for some steps.

    The time is measured from the first to the last call of ``should_stop``, so it excludes the
    setup before the first step and the snapshot after the last.

    Returns
    -------
    tuple
        Steps done, their seconds, and the seconds of the snapshot.
    """
    first = trainer.step
    started: list[float] = []
    stopped: list[float] = []

    def should_stop() -> bool:
        if not started:
            synchronise(trainer.device)
            on_start()
            started.append(time.perf_counter())
        if trainer.step < first + n_steps:
            return False
        if not stopped:
            synchronise(trainer.device)
            stopped.append(time.perf_counter())
            on_stop()
        return True

    trainer.fit(should_stop=should_stop)
    finished = time.perf_counter()
    return trainer.step - first, stopped[0] - started[0], finished - stopped[0]


def compare(
    trainer: Trainer,
    bare: Bare,
    *,
    n_rounds: int,
    n_least: int,
    seconds: float,
    left: Callable[[], float],
) -> dict[str, Any]:
    """Loop, bare step and bare passes in alternating rounds; medians in images per second.

    Parameters
    ----------
    n_least
        Minimal steps of a round, and steps for warm-up.
    seconds
        Approximate time of a round.
    left
        Returns the remaining seconds; rounds end early if they are too few.
    """
    loop_round(trainer, n_least, lambda: bare.cudnn.update(_cudnn_settings()))
    bare.seconds(bare.step, n_least)
    bare.seconds(bare.passes, n_least)
    one = bare.seconds(bare.step, n_least) / n_least
    n_steps = max(n_least, min(200, round(seconds / one)))
    per_epoch = trainer.order.steps_per_epoch
    if n_steps >= per_epoch:  # whole epochs, because the start of an epoch has a cost
        n_steps -= n_steps % per_epoch
        loop_round(trainer, per_epoch - trainer.step % per_epoch)
    rates: dict[str, list[float]] = {"loop": [], "bare": [], "passes": []}
    snapshots, batch = [], trainer.config.batch_size
    for number in range(n_rounds):
        if number >= 2 and left() < 4 * n_steps * one + 2:
            break
        # The order alternates, so that a drift of the machine favours none.
        for what in list(rates) if number % 2 else reversed(list(rates)):
            if what == "loop":
                done, taken, snapshot = loop_round(trainer, n_steps)
                snapshots.append(snapshot)
            else:
                done = n_steps
                taken = bare.seconds(bare.step if what == "bare" else bare.passes, n_steps)
            rates[what].append(done * batch / taken)
    ratios = [loop / own for loop, own in zip(rates["loop"], rates["bare"], strict=True)]
    return {
        "images_per_second_loop": round(statistics.median(rates["loop"]), 1),
        "images_per_second_bare": round(statistics.median(rates["bare"]), 1),
        "images_per_second_passes": round(statistics.median(rates["passes"]), 1),
        "share_of_bare": round(statistics.median(ratios), 4),
        "share_of_bare_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "milliseconds_per_step": round(1000 * batch / statistics.median(rates["loop"]), 3),
        "snapshot_seconds": round(statistics.median(snapshots), 4),
        "n_rounds": len(ratios),
        "n_steps": n_steps,
        "cudnn": dict(bare.cudnn),
    }


def _cudnn_settings() -> dict[str, bool]:
    cudnn = torch.backends.cudnn
    names = ("benchmark", "deterministic", "allow_tf32")
    return {name: bool(getattr(cudnn, name)) for name in names}


def count_waits(trainer: Trainer, n_steps: int) -> dict[str, Any]:
    """Number and places of waits of the loop for the GPU, from torch's warnings.

    Copies from memory that is not pinned count only if they wait.
    """
    places: collections.Counter[str] = collections.Counter()
    with _warned_of_waits(places) as (start, stop):
        done, _, _ = loop_round(trainer, n_steps, start, stop)
    return {
        "per_step": round(sum(places.values()) / done, 3),
        "n_steps": done,
        "places": {place: round(count / done, 3) for place, count in places.most_common(12)},
    }


@contextlib.contextmanager
def _warned_of_waits(
    places: collections.Counter[str],
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Functions that start and stop the counting of waits by line of hashkit."""
    is_counting = False

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if is_counting and "called a synchronizing" in str(message):
            places[_caller()] += 1

    def start() -> None:
        nonlocal is_counting
        torch.cuda.set_sync_debug_mode("warn")  # this call itself warns that it is a prototype
        is_counting = True

    def stop() -> None:
        nonlocal is_counting
        is_counting = False
        torch.cuda.set_sync_debug_mode("default")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        try:
            yield start, stop
        finally:
            stop()


def _caller() -> str:
    """The innermost line of hashkit in the stack; otherwise the innermost line."""
    frames = [
        frame for frame in traceback.extract_stack() if not frame.filename.endswith("warnings.py")
    ][:-2]
    for frame in reversed(frames):
        if "/hashkit/" in frame.filename and "/gpucheck/" not in frame.filename:
            name = frame.filename.rpartition("/hashkit/")[2]
            return f"{name}:{frame.lineno} {frame.name}"
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown"


def busy_seconds(trainer: Trainer, n_steps: int) -> float:
    """Seconds per step in which the GPU computes or copies, from torch's profiler.

    The profiler slows the host but not the GPU, so compare this with seconds per step without it.
    """
    from torch.autograd import DeviceType  # type: ignore[attr-defined]
    from torch.profiler import ProfilerActivity, profile

    session = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])

    def stop() -> None:
        session.__exit__(None, None, None)  # type: ignore[no-untyped-call]

    done, _, _ = loop_round(trainer, n_steps, session.__enter__, stop)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in session.events()  # type: ignore[no-untyped-call]
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    if not spans:
        raise RuntimeError("the profiler recorded nothing on the GPU")
    busy, end = 0.0, spans[0][0]
    for first, last in spans:
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    return busy / 1e6 / done


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Any]:
    """Whether tensors with the same names are identical, and their largest difference."""
    if one.keys() != other.keys():
        raise ValueError("the checkpoints hold different tensors")
    differences = {
        name: float((one[name].double() - other[name].double()).abs().max())
        if one[name].numel()
        else 0.0
        for name in one
    }
    worst = max(differences, key=lambda name: differences[name])
    return {
        "is_bit_equal": all(torch.equal(one[name], other[name]) for name in one),
        "n_tensors": len(one),
        "n_tensors_that_differ": sum(not torch.equal(one[name], other[name]) for name in one),
        "largest_difference": differences[worst],
        "largest_difference_in": worst,
    }
