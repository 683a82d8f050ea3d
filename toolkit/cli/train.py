"""``hashkit train``: images to a checkpoint."""

from __future__ import annotations

import dataclasses
import inspect
import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hashkit.cli.console import TERMINAL, emit_json, note, progress_bar, require
from hashkit.cli.flags import flags, parse_size
from hashkit.cli.options import (
    DataRootOption,
    DownloadOption,
    JsonOption,
    RunsOption,
    StrictOption,
    WorkersOption,
)
from hashkit.cli.train_options import read_settings, with_settings
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR, Run, write_json
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.runs.data_spec import DataSpec
    from hashkit.training.progress import StepReport, TrainResult
    from hashkit.training.trainer import Trainer

__all__ = ["train"]

_RESUME_TAKES = frozenset(
    {"resume", "run", "runs", "device", "num_workers", "strict", "json", "list_recipes"}
)
"""Options that say where and how a resumed run goes on; the others made it what it is."""


def train(
    data: Annotated[
        str, typer.Option("--data", help="Named set, folder of class folders, or list file.")
    ] = "digits",
    data_root: DataRootOption = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol", help="How the set is split.", show_default="per-class, or random"
        ),
    ] = "",
    split_seed: Annotated[int, typer.Option("--split-seed", help="Seed of the split.")] = 0,
    queries_per_class: Annotated[
        int | None, typer.Option("--queries-per-class", help="Queries of each class.")
    ] = None,
    training_per_class: Annotated[
        int | None, typer.Option("--training-per-class", help="Training images of each class.")
    ] = None,
    training_in_database: Annotated[
        bool | None,
        typer.Option(
            "--training-in-database/--no-training-in-database",
            help="Whether training images can be found.",
            show_default="by protocol",
        ),
    ] = None,
    n_queries: Annotated[
        int | None, typer.Option("--n-queries", help="Queries in all (protocol random).")
    ] = None,
    n_training: Annotated[
        int | None, typer.Option("--n-training", help="Training images in all (random).")
    ] = None,
    unseen_fraction: Annotated[
        float | None,
        typer.Option("--unseen-fraction", help="Share of classes kept unseen (unseen-classes)."),
    ] = None,
    unseen_classes: Annotated[
        str | None,
        typer.Option("--unseen-classes", help="Their names, separated by commas, in place of it."),
    ] = None,
    query_list: Annotated[
        Path | None, typer.Option("--query-list", help="Queries of a published split (list file).")
    ] = None,
    training_list: Annotated[
        Path | None, typer.Option("--training-list", help="Its training images (list file).")
    ] = None,
    triplets: Annotated[
        Path | None,
        typer.Option("--triplets", help="Learn from a triplet list instead: three names a line."),
    ] = None,
    download: DownloadOption = False,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", help="Input size in pixels, H or HxW.", show_default="the images' own, or 64"
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the run.", show_default="date and data")
    ] = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --run, or with the newest run.")
    ] = False,
    run: Annotated[Path | None, typer.Option("--run", help="Run folder to resume.")] = None,
    list_recipes: Annotated[
        bool,
        typer.Option("--list-recipes", help="Show recipes, networks and losses, and stop."),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda or cuda:N; cuda never falls back.")
    ] = "auto",
    num_workers: WorkersOption = None,
    strict: StrictOption = False,
    json: JsonOption = False,
    **given: Any,
) -> None:
    """Train a network to give similar images similar codes.

    Without options it learns the digits that come with scikit-learn, in about a minute. Ctrl-C
    saves the state, and hashkit train --resume goes on, bit for bit as if it had not been stopped.

    \b
    Examples:
      hashkit train
      hashkit train --data photos/ --bits 64 --size 64 --epochs 50
      hashkit train --data photos/ --recipe pretrained --bits 32,64
    """  # noqa: D301
    require("torch", "train", "hashkit train")
    require("safetensors", "train", "hashkit train")
    from hashkit.cli import train_output
    from hashkit.workflow import training
    from hashkit.workflow.training_source import TrainingSource

    if list_recipes:
        train_output.show_recipes(json)
        return
    reading = training.Reading(num_workers, strict, download)
    settings = read_settings(given)
    if resume:
        _refuse_changes(locals())
        trainer = training.resume(
            run, runs, settings, device=device, reading=reading, reporter=TERMINAL
        )
    else:
        if run is not None:
            raise ConfigError("--run goes with --resume; a new run is named with --name")
        _check_name(name, runs)
        trainer = training.begin(
            TrainingSource(_spec(locals()), triplets.absolute() if triplets else None),
            settings,
            size=parse_size(size) if size else None,
            runs=runs,
            name=name,
            device=device,
            reading=reading,
            reporter=TERMINAL,
        )
    if trainer.step >= trainer.n_steps and trainer.run.summary_path.is_file():
        _tell_again(trainer.run, json)
    else:
        _finish(trainer, _fit(trainer), json)


def _refuse_changes(options: Mapping[str, Any]) -> None:
    """What a run is made from is in its config.json."""
    defaults = inspect.signature(train).parameters
    changed = [
        option
        for option in options.keys() & (defaults.keys() - _RESUME_TAKES)
        if options[option] != defaults[option].default
    ]
    if changed:
        raise ConfigError(f"a resumed run keeps its images and name: leave out {flags(changed)}")


def _check_name(name: str | None, runs: Path) -> None:
    if name is not None and (Path(name).name != name or name in ("", "..")):
        raise ConfigError(f"--name must name one folder below {runs}, not {name!r}")


def _spec(options: Mapping[str, Any]) -> DataSpec:
    from hashkit.datasets.spec import with_absolute_paths
    from hashkit.runs.data_spec import DataSpec, ProtocolOptions

    def text(path: Path | None) -> str | None:
        return None if path is None else str(path)

    spec = DataSpec(
        data=options["data"],
        root=text(options["data_root"]),
        protocol=options["protocol"],
        seed=options["split_seed"],
        options=ProtocolOptions(
            queries_per_class=options["queries_per_class"],
            training_per_class=options["training_per_class"],
            training_in_database=options["training_in_database"],
            n_queries=options["n_queries"],
            n_training=options["n_training"],
            unseen_fraction=options["unseen_fraction"],
            unseen_classes=_names(options["unseen_classes"]),
        ),
        query_list=text(options["query_list"]),
        training_list=text(options["training_list"]),
    )
    return with_absolute_paths(spec)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _fit(trainer: Trainer) -> TrainResult:
    if trainer.has_fixed_features:
        n_images = len(trainer.data.pixels)
        with progress_bar("features, once", n_images, "images") as bar:
            trainer.compute_features(lambda done, _: bar.update(done))
    with (
        _stop_flag() as stop,
        progress_bar("training", trainer.n_steps, "steps", start=trainer.step) as bar,
    ):

        def show(report: StepReport) -> None:
            bar.update(report.step, _detail(report))

        return trainer.fit(show, should_stop=lambda: bool(stop))


def _detail(report: StepReport) -> str:
    held_out = "" if report.held_out is None else f", held-out {report.held_out:.3f}"
    return (
        f"epoch {report.epoch}, loss {report.loss:.3f}, active {report.active:.0%}, "
        f"lr {report.learning_rate:.2g}, {report.images_per_second:,.0f} images/s{held_out}"
    )


@contextmanager
def _stop_flag() -> Iterator[list[int]]:
    """A list that a first Ctrl-C or SIGTERM makes non-empty; a second one interrupts at once."""
    stop: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(number)
        note("stopping after this step, and saving")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _tell_again(run: Run, as_json: bool) -> None:
    note(f"run {run.path} is trained already")
    summary = json.loads(run.summary_path.read_text(encoding="utf-8"))
    _show_next(run)
    if as_json:
        emit_json(summary)


def _finish(trainer: Trainer, result: TrainResult, as_json: bool) -> None:
    run = trainer.run
    if not result.is_done:
        note(
            f"stopped after step {result.step:,} of {result.n_steps:,}; go on with\n"
            f"    hashkit train --resume --run {run.path}"
        )
        raise typer.Exit(130)
    checkpoint = run.checkpoint_path()
    summary = dataclasses.asdict(result) | {"run": str(run.path), "checkpoint": str(checkpoint)}
    write_json(run.summary_path, summary)
    chosen = (
        f"step {result.best_step:,}, held-out score {result.best_score:.4f}"
        if result.best_step is not None
        else "the last step; nothing was held out"
    )
    note(
        f"trained {plural(result.n_steps, 'step')}; "
        f"{result.images_per_second:,.0f} images/s, {result.seconds:,.0f} s\n"
        f"checkpoint: {checkpoint} ({chosen})"
    )
    _show_next(run)
    if as_json:
        emit_json(summary)


def _show_next(run: Run) -> None:
    """Name the export command of a trained run, or of the runs that it is split into."""
    from hashkit.training.per_length_runs import split_run

    for ready in split_run(run):
        note(f"next: hashkit export --onnx --run {ready.path}")


with_settings(train)
