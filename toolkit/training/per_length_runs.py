"""From one training of several code lengths to a run folder for each of them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping

from torch import Tensor

from hashkit.errors import RunError
from hashkit.runs.run import Run, run_name
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

__all__ = ["split_run"]

_PER_LENGTH = ("heads", "standardise")
"""Parts of a `HashModel` that are there once a code length."""


def split_run(run: Run) -> list[Run]:
    """Make a run folder for each code length of a trained run, beside it; one length is itself.

    Each holds the network with its head, and the training's summary; it is exported, encoded and
    evaluated like any other run. Its config.json names the trained run under ``shared``. Folders
    that were made from this run before are made anew, unless a model was exported from them.

    Returns
    -------
    list of Run
        One a code length, in the order of the settings.

    Raises
    ------
    RunError
        If something else has the name of one of them.
    """
    saved = run.read_config()
    if len(saved.training.lengths) == 1:
        return [run]
    if run.path.name in ("", ".."):
        run = Run(run.path.resolve())
    checkpoint = read_checkpoint(run.checkpoint_path())
    return [
        _split_off(run, saved, checkpoint, index) for index in range(len(checkpoint.config.lengths))
    ]


def _split_off(run: Run, saved: RunConfig, checkpoint: Checkpoint, index: int) -> Run:
    n_bits = checkpoint.config.lengths[index]
    config = dataclasses.replace(checkpoint.config, lengths=(n_bits,))
    name = run_name(run.path.name, n_bits)
    target = Run(run.path.parent / name)
    if target.path.exists():
        if not _is_part(target, run):
            raise RunError(
                f"{target.path} is there already and not from {run.path}: rename it, then "
                f"`hashkit train --resume --run {run.path}`"
            )
        if target.model_path.exists():
            return target
        shutil.rmtree(target.path)
    shared = SharedTraining(run.path.name, checkpoint.config.lengths)
    split = Run.create(
        run.path.parent, name, dataclasses.replace(saved, training=config, shared=shared)
    )
    write_checkpoint(
        split.best_path,
        Checkpoint(
            step=checkpoint.step,
            config=config,
            manifest=dataclasses.replace(checkpoint.manifest, n_bits=n_bits),
            model=_one_head(checkpoint.model, index),
            losses={},
            optimiser={},
            state=checkpoint.state,
        ),
    )
    for source, copy in (
        (run.metrics_path, split.metrics_path),
        (run.summary_path, split.summary_path),
    ):
        shutil.copyfile(source, copy)
    return split


def _is_part(target: Run, run: Run) -> bool:
    """Whether a folder was split off from a run, or is what a kill left of that."""
    if not target.config_path.exists():
        return target.is_cut_off()
    shared = target.read_config().shared
    return shared is not None and shared.run == run.path.name


def _one_head(model: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Tensors of a model that keeps one of its heads."""
    tensors = {}
    for name, value in model.items():
        part, _, rest = name.partition(".")
        if part not in _PER_LENGTH:
            tensors[name] = value
        elif rest.partition(".")[0] == str(index):
            tensors[f"{part}.0.{rest.partition('.')[2]}"] = value
    return tensors
