"""``hashkit.train`` and ``hashkit.resume``: images to a trained run."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashkit.errors import ConfigError, TrainingError
from hashkit.inputs.arguments import argument_shown, checked_arguments_but
from hashkit.runs.config import checked_settings
from hashkit.runs.data_spec import DataSpec, ProtocolOptions, check_split_seed, name_tuple
from hashkit.runs.known_names import FITTED, check_training_device
from hashkit.runs.run import DEFAULT_RUNS_DIR, PathText, Run, as_run, whole_run
from hashkit.runs.run_lock import locked_run
from hashkit.runs.setting_kinds import plain_scalar
from hashkit.threads import check_threads
from hashkit.workflow.extras import require
from hashkit.workflow.loggers import check_loggers, logger_group
from hashkit.workflow.output_files import check_writable_folder
from hashkit.workflow.reporter import LOGGED, Reporter
from hashkit.workflow.settings import errors_name, on_features, settings_by_field

if TYPE_CHECKING:
    from hashkit.datasets.imageset import ImageSet
    from hashkit.datasets.split import Split
    from hashkit.training.loggers import RunLogger
    from hashkit.workflow.run_start import NewRun
    from hashkit.workflow.training_source import TrainingSource

__all__ = ["require_torch", "resume", "train"]


@checked_arguments_but("bits", "size", "loggers")
def train(
    data: PathText = "digits",
    *,
    bits: int | Sequence[int] | None = None,
    recipe: str | None = None,
    size: int | tuple[int, int] | None = None,
    data_root: PathText | None = None,
    protocol: str = "",
    split_seed: int = 0,
    queries_per_class: int | None = None,
    training_per_class: int | None = None,
    training_in_database: bool | None = None,
    n_queries: int | None = None,
    n_training: int | None = None,
    unseen_fraction: float | None = None,
    unseen_classes: str | Sequence[str] | None = None,
    query_list: PathText | None = None,
    training_list: PathText | None = None,
    unlabelled: PathText | None = None,
    triplets: PathText | None = None,
    download: bool = False,
    name: str | None = None,
    runs: PathText = DEFAULT_RUNS_DIR,
    device: str = "auto",
    num_workers: int | None = None,
    strict: bool = False,
    loggers: Sequence[str | RunLogger] = (),
    leaks: bool = False,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] | None = None,
    **settings: Any,
) -> Run:
    """Train a network to give similar images similar codes, as ``hashkit train`` does.

    Each flag of the command is an argument, with underscores; docs/cli.md describes them all.

    Parameters
    ----------
    data
        A named set, a folder of class folders, or a list file.
    bits
        Code length. Several lengths share one network: the returned run holds the training, and
        `Run.per_length` gives the run of each length, to be exported and encoded.
    recipe
        Name of the settings to start from; None for ``best``.
    size
        Input size in pixels, or (height, width); None for that of the recipe, the network or the
        images.
    data_root, protocol, ..., training_list
        Where the set's files are, and how it is split into queries, database and training images.
    unlabelled
        A folder or list of more images, used without labels; the default recipe is then
        ``few-labels``.
    triplets
        A triplet list to train on, instead of labels.
    download
        Download the missing files of a named set.
    name, runs
        The run folder is ``runs/name``; by default it is named after the time and the data.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``cuda`` fails rather than fall back.
    num_workers
        Decoding threads; None for one per core.
    strict
        Stop at an image that cannot be used, instead of skipping it.
    loggers
        Loggers that also get the numbers of metrics.jsonl: ``tensorboard``, ``wandb``, or your own
        objects with the methods of `hashkit.training.loggers.base.RunLogger`.
    leaks
        Warn about queries that are near copies of training or database images.
    reporter
        Takes notes and progress (`hashkit.workflow.reporter.Reporter`); None to log the notes.
    should_stop
        Called before each step. If it returns True, the state is saved, and the unfinished run is
        returned (`Run.is_trained`), for `resume` to continue.
    **settings
        Fields of `hashkit.runs.config.TrainConfig` that change the recipe, such as ``epochs=50``,
        ``loss="csq"`` or ``learning_rate=0.01`` (or ``lr``, as its flag).

    Returns
    -------
    Run
        The run folder; `hashkit.export` makes a model from it.

    Raises
    ------
    TypeError
        If a setting is unknown; the message names the nearest one.
    ConfigError, DatasetError, DeviceError, RunError, TrainingError, MissingExtraError
        If a setting is wrong, the images or the device cannot be used, the name is taken, the loss
        is no longer finite, or torch is not installed.
    """
    check_threads(num_workers, "num_workers")
    check_split_seed(split_seed)
    checked_loggers = check_loggers(loggers)
    given = {*settings, *([] if bits is None else ["bits"])}
    changes = settings_by_field("train", settings)
    if bits is not None:
        if "lengths" in changes:
            raise TypeError("train() got both bits and lengths, which are the same setting")
        changes["lengths"] = _lengths(bits)
    if recipe is not None:
        changes["recipe"] = recipe
    with errors_name(given):
        checked_settings(changes)
    check_training_device(device)
    _check_place(name, Path(runs))
    options = ProtocolOptions(
        queries_per_class=queries_per_class,
        training_per_class=training_per_class,
        training_in_database=training_in_database,
        n_queries=n_queries,
        n_training=n_training,
        unseen_fraction=unseen_fraction,
        unseen_classes=name_tuple(unseen_classes),
    )
    spec = DataSpec(
        data=os.fspath(data),
        root=_text(data_root),
        protocol=protocol,
        seed=split_seed,
        options=options,
        query_list=_text(query_list),
        training_list=_text(training_list),
        unlabelled=_text(unlabelled),
    )
    from hashkit.datasets.spec import with_absolute_paths
    from hashkit.workflow.run_start import NewRun, Reading
    from hashkit.workflow.training_source import TrainingSource

    new = NewRun(
        source=TrainingSource(
            with_absolute_paths(spec), None if triplets is None else Path(triplets).absolute()
        ),
        size=_size(size),
        runs=Path(runs),
        name=name,
        device=device,
        reading=Reading(num_workers, strict, download, leaks),
        loggers=checked_loggers,
        reporter=reporter or LOGGED,
        should_stop=should_stop or (lambda: False),
    )
    return _start(new, changes, given)


@checked_arguments_but("loggers")
def resume(
    run: Run | PathText,
    *,
    network: str | None = None,
    loss: str | None = None,
    device: str = "auto",
    num_workers: int | None = None,
    strict: bool = False,
    loggers: Sequence[str | RunLogger] = (),
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run:
    """Continue a run from its last snapshot, as ``hashkit train --resume`` does.

    The parameters that are not listed are those of `train`.

    Parameters
    ----------
    run
        The run, or its folder. It keeps its settings and images. For the run of one of several code
        lengths, their common training is continued and returned.
    network, loss
        The run's network and loss, as named at its start, ``module:FILE.py:NAME``. Required if they
        are code from outside hashkit, because code named only in a run's files is not imported.
    device
        ``auto`` for the device that the run was started on.

    Raises
    ------
    ConfigError
        If its network or loss is code that was not named.
    RunLockedError
        If another process is training it.
    RunError, CheckpointError, DatasetError, DeviceError, TrainingError, MissingExtraError
        If there is no such run, its snapshot does not match its settings or images, or one of the
        reasons of `train`.
    """
    check_threads(num_workers, "num_workers")
    checked_loggers = check_loggers(loggers)
    found = whole_run(as_run(run))
    reporter = reporter or LOGGED
    from hashkit.workflow.run_start import Reading

    reading = Reading(num_workers, strict)
    if found.read_config().training.has_embedder:
        from hashkit.workflow.feature_training import resume_on_features

        with locked_run(found.path, "training"):
            return resume_on_features(
                found,
                network=network,
                loss=loss,
                device=device,
                reading=reading,
                reporter=reporter,
                should_stop=should_stop or (lambda: False),
                loggers=logger_group(checked_loggers, reporter),
            )
    require_torch()
    from hashkit.workflow.fitting import finish_training
    from hashkit.workflow.training import resumed_trainer

    with locked_run(found.path, "training"):
        trainer = resumed_trainer(
            found, network=network, loss=loss, device=device, reading=reading, reporter=reporter
        )
        return finish_training(
            trainer, reporter, should_stop, logger_group(checked_loggers, reporter)
        )


def _start(new: NewRun, changes: Mapping[str, Any], given: Collection[str]) -> Run:
    """Train a network, or a head on frozen features, as the settings and the images say."""
    from hashkit.datasets.sets import IMAGE_SETS
    from hashkit.workflow.recipe_choice import chosen_settings
    from hashkit.workflow.run_start import open_images

    spec = new.source.spec
    if not _may_need_no_torch(new.source, changes):
        require_torch()  # before the images are opened
    if new.source.triplets is not None:
        _check_triplets(spec, changes)
        return _train_network(new, None, changes, given)
    opened = open_images(spec, new.reading, new.reporter)
    is_named_set = spec.data in IMAGE_SETS
    changes = chosen_settings(
        changes,
        opened[0],
        new.reporter,
        has_others=spec.unlabelled is not None,
        training=None if is_named_set else opened[1].training,
    )
    if not on_features(changes):
        return _train_network(new, opened, changes, given)
    from hashkit.workflow.feature_training import train_on_features

    with errors_name(given):
        return train_on_features(new, opened, changes)


def _train_network(
    new: NewRun,
    opened: tuple[ImageSet, Split] | None,
    changes: Mapping[str, Any],
    given: Collection[str],
) -> Run:
    require_torch()
    from hashkit.workflow.fitting import finish_training
    from hashkit.workflow.training import new_trainer

    with contextlib.ExitStack() as locks:
        with errors_name(given):
            trainer = new_trainer(new, opened, changes, locks)
        loggers = logger_group(new.loggers, new.reporter)
        try:
            return finish_training(trainer, new.reporter, new.should_stop, loggers)
        except TrainingError:
            if not trainer.step:  # such as a loss of the user's own that fails at once
                shutil.rmtree(trainer.run.path)
            raise


def _check_triplets(spec: DataSpec, changes: Mapping[str, Any]) -> None:
    if spec.unlabelled is not None:
        raise ConfigError(
            "`triplets` does not go with `unlabelled`, found both: leave one of them out"
        )
    if on_features(changes):
        raise ConfigError(
            "`triplets` does not go with frozen features, found both: leave it out, or name a "
            "network that is trained"
        )


def _may_need_no_torch(source: TrainingSource, changes: Mapping[str, Any]) -> bool:
    """Whether the run may turn out to fit a head to frozen features, before a recipe is chosen."""
    if changes.get("loss") in FITTED or on_features(changes):
        return True
    is_named = changes.keys() & {"recipe", "network", "loss"}
    return not is_named and source.triplets is None and Path(source.spec.data).is_dir()


def _lengths(bits: Any) -> tuple[Any, ...]:
    bits = plain_scalar(bits)
    if isinstance(bits, Sequence) and not isinstance(bits, str):
        return tuple(bits)
    if isinstance(bits, int) and not isinstance(bits, bool):
        return (bits,)
    raise ConfigError(f"`bits` must be a whole number, or several, not {argument_shown(bits)}")


def _size(size: Any) -> tuple[Any, Any] | None:
    size = plain_scalar(size)
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) and not isinstance(size, bool) else size
    if isinstance(sides, str) or not isinstance(sides, Sequence) or len(sides) != 2:
        raise ConfigError(
            f"`size` must be a whole number or (height, width), not {argument_shown(size)}"
        )
    return sides[0], sides[1]


def require_torch() -> None:
    """Raise MissingExtraError if training lacks a package."""
    require("train", "hashkit train", "torch", "safetensors")


def _check_place(name: str | None, runs: Path) -> None:
    """Check where the run will be made, before images are read."""
    if name is not None:
        if Path(name).name != name or name in ("", ".."):
            raise ConfigError(f"`name` must name one folder below {runs}, not {name!r}")
        Run.check_free(runs, name)
    check_writable_folder(runs)


def _text(path: PathText | None) -> str | None:
    return None if path is None else os.fspath(path)
