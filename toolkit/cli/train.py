"""``hashkit train``: images to a checkpoint."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hashkit.cli.console import INTERRUPTED, TERMINAL, emit_json, note
from hashkit.cli.flags import flags, parse_size
from hashkit.cli.options import (
    DataRootOption,
    DownloadOption,
    JsonOption,
    LeaksOption,
    RunsOption,
    StrictOption,
    WorkersOption,
)
from hashkit.cli.stop_signal import StopSignal
from hashkit.cli.train_options import read_settings, with_settings
from hashkit.errors import ConfigError
from hashkit.runs.named_code import runs_own_code
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runs.run_config import read_json_object

__all__ = ["train"]

_RESUME_OPTIONS = frozenset(
    {"resume", "run", "runs", "device", "num_workers", "strict", "log", "json", "list_recipes"}
)
"""Options that go with --resume; the others are kept in the run's config.json."""


def train(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="IMAGES",
            help="Named set, folder (each subfolder is a class), or list file.",
        ),
    ] = "digits",
    data_root: DataRootOption = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="How the set is split.",
            show_default="per-class, or random",
        ),
    ] = "",
    split_seed: Annotated[
        int, typer.Option("--split-seed", metavar="N", help="Seed of the split.")
    ] = 0,
    queries_per_class: Annotated[
        int | None, typer.Option("--queries-per-class", metavar="N", help="Queries per class.")
    ] = None,
    training_per_class: Annotated[
        int | None,
        typer.Option("--training-per-class", metavar="N", help="Training images per class."),
    ] = None,
    training_in_database: Annotated[
        bool | None,
        typer.Option(
            "--training-in-database/--no-training-in-database",
            help="Whether the database includes the training images.",
            show_default="by protocol",
        ),
    ] = None,
    n_queries: Annotated[
        int | None,
        typer.Option("--n-queries", metavar="N", help="Number of queries (protocol random)."),
    ] = None,
    n_training: Annotated[
        int | None,
        typer.Option("--n-training", metavar="N", help="Number of training images (random)."),
    ] = None,
    unseen_fraction: Annotated[
        float | None,
        typer.Option(
            "--unseen-fraction",
            metavar="X",
            help="Fraction of classes kept unseen (unseen-classes).",
        ),
    ] = None,
    unseen_classes: Annotated[
        str | None,
        typer.Option(
            "--unseen-classes",
            metavar="NAME,...",
            help="Names of the unseen classes, separated by commas.",
        ),
    ] = None,
    query_list: Annotated[
        Path | None,
        typer.Option(
            "--query-list", metavar="FILE", help="Queries of a published split (list file)."
        ),
    ] = None,
    training_list: Annotated[
        Path | None,
        typer.Option(
            "--training-list", metavar="FILE", help="Training images of that split (list file)."
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            "--unlabelled",
            metavar="IMAGES",
            help="Folder or list of more images, used without labels.",
        ),
    ] = None,
    triplets: Annotated[
        Path | None,
        typer.Option(
            "--triplets",
            metavar="FILE",
            help="Train on a triplet list instead, with three names per line.",
        ),
    ] = None,
    download: DownloadOption = False,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            help="Input size in pixels, H or HxW.",
            show_default="image size, or 64",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="Name of the run.", show_default="date and data"
        ),
    ] = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue --run, or the newest run.")
    ] = False,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Run folder to resume.")
    ] = None,
    list_recipes: Annotated[
        bool,
        typer.Option("--list-recipes", help="Show recipes, networks and losses, and exit."),
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="auto, cpu, cuda or cuda:N; cuda never falls back."
        ),
    ] = "auto",
    num_workers: WorkersOption = None,
    strict: StrictOption = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="NAME",
            help="Also log to tensorboard or wandb (offline, in the run folder); may be repeated.",
        ),
    ] = None,
    leaks: LeaksOption = False,
    json: JsonOption = False,
    **given: Any,
) -> None:
    """Train a network to give similar images similar codes.

    Without options it trains on the digits of scikit-learn, which takes about a minute. Ctrl-C
    saves the state, and hashkit train --resume continues with the same results, bit for bit.

    \b
    Examples:
      hashkit train
      hashkit train --data photos/ --bits 64 --size 64 --epochs 50
      hashkit train --data photos/ --recipe pretrained --bits 32,64
    """  # noqa: D301
    from hashkit.workflow import train as workflow
    from hashkit.workflow.models import find_run

    if list_recipes:
        workflow.require_torch()
        from hashkit.cli.train_output import show_recipes

        show_recipes(json)
        return
    settings = read_settings(given)
    if resume:
        own_network, own_loss = settings.pop("network", None), settings.pop("loss", None)
        _refuse_changes(locals(), settings)
    elif run is not None:
        raise ConfigError("--run needs --resume; to name a new run, use --name")
    with StopSignal() as should_stop:
        if resume:
            made = workflow.resume(
                find_run(run, runs, TERMINAL),
                network=own_network,
                loss=own_loss,
                device=device,
                num_workers=num_workers,
                strict=strict,
                loggers=log or (),
                reporter=TERMINAL,
                should_stop=should_stop,
            )
        else:
            made = workflow.train(
                data,
                size=parse_size(size) if size else None,
                data_root=data_root,
                protocol=protocol,
                split_seed=split_seed,
                queries_per_class=queries_per_class,
                training_per_class=training_per_class,
                training_in_database=training_in_database,
                n_queries=n_queries,
                n_training=n_training,
                unseen_fraction=unseen_fraction,
                unseen_classes=_names(unseen_classes),
                query_list=query_list,
                training_list=training_list,
                unlabelled=unlabelled,
                triplets=triplets,
                download=download,
                name=name,
                runs=runs,
                device=device,
                num_workers=num_workers,
                strict=strict,
                loggers=log or (),
                leaks=leaks,
                reporter=TERMINAL,
                should_stop=should_stop,
                **settings,
            )
    if not made.is_trained:
        raise typer.Exit(INTERRUPTED)
    network = made.read_config().training.network
    option = f" --network {shlex.quote(network)}" if runs_own_code(network) else ""
    for part in made.per_length().values():
        note(f"next: hashkit export --onnx --run {part.path}{option}")
    if json:
        emit_json(read_json_object(made.summary_path))


def _refuse_changes(options: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse options that a resumed run takes from its config.json."""
    defaults = inspect.signature(train).parameters
    changed = [
        option
        for option in options.keys() & (defaults.keys() - _RESUME_OPTIONS)
        if options[option] != defaults[option].default
    ]
    if changed:
        raise ConfigError(f"a resumed run keeps its images and name: leave out {flags(changed)}")
    if settings:
        raise ConfigError(f"a resumed run keeps its settings: leave out {flags(settings)}")


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


with_settings(train)
