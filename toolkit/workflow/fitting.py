"""A training from its first step to its last: progress, the summary, a run for each code length."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from hashkit.errors import RunError
from hashkit.messages.os_errors import cannot_write
from hashkit.runs.config import TrainConfig
from hashkit.runs.named_code import is_own_loss, runs_own_code
from hashkit.runs.run import Run, write_json
from hashkit.training.loggers.group import LoggerGroup
from hashkit.training.per_length_runs import split_run
from hashkit.training.progress import StepReport, TrainResult
from hashkit.training.trainer import Trainer
from hashkit.workflow.loggers import logging_config
from hashkit.workflow.reporter import LOGGED, Reporter, plural

__all__ = ["finish_training"]


def finish_training(
    trainer: Trainer,
    reporter: Reporter = LOGGED,
    should_stop: Callable[[], bool] | None = None,
    loggers: LoggerGroup | None = None,
) -> Run:
    """Train to the end, write summary.json, and make a run for each of several code lengths.

    Parameters
    ----------
    should_stop
        Called before each step; if it returns True, the state is saved and the run is returned
        as it is.
    loggers
        Take the numbers of metrics.jsonl, too.

    Raises
    ------
    RunError
        If a file of the run cannot be written; the snapshots so far are kept.
    """
    run = trainer.run
    if run.is_trained and trainer.step >= trainer.n_steps:
        reporter.note(f"run {run.path} is trained already")
    else:
        try:
            with _logged(trainer, loggers or LoggerGroup()):
                result = _fit(trainer, reporter, should_stop or (lambda: False))
        except OSError as error:
            raise RunError(
                f"{cannot_write(error, error.filename or run.path)}; then continue with "
                f"{_resume_call(run, trainer.config)}"
            ) from error
        if not result.is_done:
            reporter.note(
                f"stopped after step {result.step:,} of {result.n_steps:,}; continue with "
                f"{_resume_call(run, trainer.config)}"
            )
            return run
        _write_summary(run, result, reporter)
    split_run(run)
    return run


@contextlib.contextmanager
def _logged(trainer: Trainer, loggers: LoggerGroup) -> Iterator[None]:
    with loggers.running(logging_config(trainer.run, trainer.step, trainer.n_steps)):
        trainer.record.on_metrics = loggers.log
        try:
            yield
        finally:
            trainer.record.on_metrics = None


def _resume_call(run: Run, config: TrainConfig) -> str:
    # The user's own code must be named again.
    network = f', network="{config.network}"' if runs_own_code(config.network) else ""
    loss = f', loss="{config.loss}"' if is_own_loss(config.loss) else ""
    return f'`hashkit.resume("{run.path}"{network}{loss})`'


def _fit(trainer: Trainer, reporter: Reporter, should_stop: Callable[[], bool]) -> TrainResult:
    if trainer.has_fixed_features:
        n_images = len(trainer.data.pixels)
        with reporter.progress("features, once", n_images, "images") as bar:
            trainer.compute_features(lambda done, _: bar.update(done))
    with reporter.progress("training", trainer.n_steps, "steps", start=trainer.step) as bar:
        return trainer.fit(lambda report: bar.update(report.step, _detail(report)), should_stop)


def _detail(report: StepReport) -> str:
    held_out = "" if report.held_out is None else f", held-out {report.held_out:.3f}"
    confident = "" if report.confident is None else f"confident {report.confident:.0%}, "
    active = "" if report.active is None else f"active {report.active:.0%}, "
    return (
        f"epoch {report.epoch}, loss {report.loss:.3f}, {active}{confident}"
        f"lr {report.learning_rate:.2g}, {report.images_per_second:,.0f} images/s{held_out}"
    )


def _write_summary(run: Run, result: TrainResult, reporter: Reporter) -> None:
    checkpoint = run.checkpoint_path()
    summary = dataclasses.asdict(result) | {"run": str(run.path), "checkpoint": str(checkpoint)}
    write_json(run.summary_path, summary)
    chosen = (
        f"step {result.best_step:,}, held-out score {result.best_score:.4f}"
        if result.best_step is not None
        else "the last step; nothing was held out"
    )
    reporter.note(
        f"trained {plural(result.n_steps, 'step')}; "
        f"{result.images_per_second:,.0f} images/s, {result.seconds:,.0f} s"
    )
    reporter.note(f"checkpoint: {checkpoint} ({chosen})")
