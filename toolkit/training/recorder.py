"""Record of a training run: metrics.jsonl, held-out scores, and the schedule of snapshots."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor

from hashkit.errors import TrainingError
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.training.losses import LossValue
from hashkit.training.progress import METRICS_FIELDS, StepReport

__all__ = ["SNAPSHOT_SECONDS", "Recorder"]

SNAPSHOT_SECONDS: Final = 10.0
"""Shortest time between two snapshots, unless the settings give a number of steps."""

_REPORT_SECONDS: Final = 0.2
"""Shortest time between two calls of ``on_step``."""


class Recorder:
    """Records the progress of one training run.

    Parameters
    ----------
    run
        Run folder, which holds metrics.jsonl.
    config
        Settings, which include the intervals between metrics, validations and snapshots.
    n_steps, steps_per_epoch
        Length of the run and of an epoch, in steps.
    learning_rate
        Function from the number of a step, from 0, to its learning rate.

    Attributes
    ----------
    best_step, best_score
        Step and score of the best validation so far; None before the first.
    held_out
        Score of the latest validation; None before the first.
    on_metrics
        Called with the step and the other values of each line of metrics.jsonl; None for nothing.
    """

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        *,
        n_steps: int,
        steps_per_epoch: int,
        learning_rate: Callable[[int], float],
    ) -> None:
        self.best_step: int | None = None
        self.best_score: float | None = None
        self.held_out: float | None = None
        self.on_metrics: Callable[[int, Mapping[str, float]], None] | None = None
        self._run = run
        self._config = config
        self._n_steps = n_steps
        self._steps_per_epoch = steps_per_epoch
        self._learning_rate = learning_rate
        self._earlier_seconds = 0.0
        self._sums = _LossSums()
        self._started: float | None = None
        self._snapshot_at = self._shown_at = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including the time before the run was resumed."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._earlier_seconds + running

    def start(self) -> None:
        """Start the clock."""
        self._started = self._snapshot_at = self._shown_at = time.perf_counter()
        self._sums = _LossSums()

    def stop(self) -> None:
        """Stop the clock."""
        self._earlier_seconds = self.seconds
        self._started = None

    def restore(self, state: Mapping[str, Any], step: int) -> None:
        """Restore the `state` after ``step`` steps and discard later lines of metrics.jsonl."""
        for name in self.state():
            setattr(self, name, state[name])
        self.rewind(step)
        # Read from metrics.jsonl: checkpoints hold no times, so that equal runs write equal files.
        self._earlier_seconds = max(
            (line.get("seconds", 0.0) for line in self._run.read_metrics()), default=0.0
        )

    def rewind(self, step: int) -> None:
        """Discard the lines of metrics.jsonl after ``step``."""
        self._run.rewind_metrics(step)

    def state(self) -> dict[str, Any]:
        """The part of the record that checkpoints hold."""
        return {
            "best_step": self.best_step,
            "best_score": self.best_score,
            "held_out": self.held_out,
        }

    def count(self, loss: LossValue, n_images: int) -> None:
        """Add a step to the running means."""
        self._sums.add(loss, n_images)

    def report(self, step: int, on_step: Callable[[StepReport], None] | None) -> None:
        """Call ``on_step`` and write a line of metrics.jsonl if they are due.

        Reading the loss waits for a GPU, so ``on_step`` is called at most five times per second.

        Parameters
        ----------
        step
            Steps done.
        on_step
            Called with the current progress.

        Raises
        ------
        TrainingError
            If the loss is infinite or NaN.
        """
        is_line = step % self._config.display_steps == 0 or step >= self._n_steps
        if not is_line and (on_step is None or not self._is_report_due()):
            return
        report = self._step_report(step)
        if on_step is not None:
            on_step(report)
        if is_line:
            line = dataclasses.asdict(report)
            self._write({name: line[name] for name in METRICS_FIELDS if line[name] is not None})
            self._sums = _LossSums()

    def score(self, step: int, held_out: float) -> bool:
        """Record a score on held-out images; returns whether it is the best so far."""
        self.held_out = held_out
        self._write({"step": step, "held_out": held_out, "seconds": self.seconds})
        if self.best_score is not None and held_out <= self.best_score:
            return False
        self.best_step, self.best_score = step, held_out
        return True

    def is_validation_due(self, step: int) -> bool:
        """Whether to validate after ``step`` steps."""
        interval = self._steps_per_epoch * self._config.validate_epochs
        return step >= self._n_steps or step % interval == 0

    def is_snapshot_due(self, step: int) -> bool:
        """Whether to write a snapshot after ``step`` steps, before the end of the run."""
        if step >= self._n_steps:
            return False
        if self._config.snapshot_steps:
            return step % self._config.snapshot_steps == 0
        # On a GPU, an epoch of a small network takes less time than writing its snapshot.
        is_interval_over = time.perf_counter() - self._snapshot_at >= SNAPSHOT_SECONDS
        return is_interval_over and step % self._steps_per_epoch == 0

    def after_snapshot(self) -> None:
        """Remove old snapshots and restart the interval to the next one."""
        if self._config.keep_snapshots:
            for _, path in self._run.snapshots()[: -self._config.keep_snapshots]:
                path.unlink()
        self._snapshot_at = time.perf_counter()

    def diverged(self, step: int, what: str) -> TrainingError:
        """The error of a training that cannot continue, because ``what`` at ``step``."""
        last = max((done for done, _ in self._run.snapshots()), default=0)
        return TrainingError(
            f"{what} at step {step}: lower `learning_rate=...` or set `clip_norm=...`; "
            f"snapshots up to step {last} are kept in {self._run.path}"
        )

    def _write(self, line: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        self._run.append_metrics(dict(line))
        if self.on_metrics is not None:
            values = {name: value for name, value in line.items() if name != "step"}
            self.on_metrics(line["step"], values)

    def _is_report_due(self) -> bool:
        now = time.perf_counter()
        if now - self._shown_at < _REPORT_SECONDS:
            return False
        self._shown_at = now
        return True

    def _step_report(self, step: int) -> StepReport:
        loss = self._sums.mean_loss()
        if not math.isfinite(loss):
            raise self.diverged(step, f"the loss is {loss}")
        return StepReport(
            step=step,
            n_steps=self._n_steps,
            epoch=(step - 1) // self._steps_per_epoch + 1,
            loss=loss,
            active=self._sums.mean_active(),
            learning_rate=self._learning_rate(step - 1),
            images_per_second=self._sums.images_per_second(),
            seconds=self.seconds,
            held_out=self.held_out,
            confident=self._sums.mean_confident(),
        )


class _LossSums:
    """Running sums since the last line of metrics.jsonl, kept on the device until they are read."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._loss: Tensor | float = 0.0
        self._active: Tensor | float | None = None
        self._confident: Tensor | float | None = None
        self._n_steps = 0
        self._n_images = 0

    def add(self, loss: LossValue, n_images: int) -> None:
        """Add a step."""
        self._loss = self._loss + loss.value.detach()
        self._active = _added(self._active, loss.active)
        self._confident = _added(self._confident, loss.confident)
        self._n_steps += 1
        self._n_images += n_images

    def mean_loss(self) -> float:
        """Mean loss."""
        return float(self._loss) / max(1, self._n_steps)

    def mean_active(self) -> float | None:
        """Mean fraction of active terms; None if the loss does not have it."""
        return None if self._active is None else float(self._active) / max(1, self._n_steps)

    def mean_confident(self) -> float | None:
        """Mean share of the unlabelled images that were trusted; None without any."""
        return None if self._confident is None else float(self._confident) / max(1, self._n_steps)

    def images_per_second(self) -> float:
        """Images per second."""
        return self._n_images / max(time.perf_counter() - self._start, 1e-9)


def _added(total: Tensor | float | None, value: Tensor | None) -> Tensor | float | None:
    return total if value is None else value if total is None else total + value
