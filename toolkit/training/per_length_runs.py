"""Splitting a training of several code lengths into one run folder per length."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping

from torch import Tensor

from hashkit.errors import RunError
from hashkit.files.writing import write_whole
from hashkit.inputs.opening import read_file
from hashkit.runs.run import Run, run_name
from hashkit.runs.run_config import RunConfig, SharedTraining
from hashkit.runs.run_lock import locked_run
from hashkit.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

__all__ = ["split_run"]

_PER_LENGTH = ("heads", "standardise")
"""Parts of a `HashModel` that exist once per code length."""


def split_run(run: Run) -> list[Run]:
    """Create a run folder for each code length of a trained run, next to it.

    Each folder holds the network with the head of its length, and the summary of the training; it
    is exported, encoded and evaluated like any other run. Its config.json names the trained run
    under ``shared``. Folders that already exist from this run are replaced, unless they contain an
    exported model. A run of one length is returned unchanged.

    Returns
    -------
    list of Run
        One run per code length, in the order of the settings.

    Raises
    ------
    RunError
        If another file or run has the name of one of them.
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
    target = Run(run.path.parent / run_name(run.path.name, n_bits))
    with locked_run(target.path, "export"):  # it may be removed and made again
        return _make_split(run, saved, checkpoint, index, target)


def _make_split(run: Run, saved: RunConfig, checkpoint: Checkpoint, index: int, target: Run) -> Run:
    n_bits = checkpoint.config.lengths[index]
    config = dataclasses.replace(checkpoint.config, lengths=(n_bits,))
    if target.path.exists():
        if not _was_split_from(target, run):
            raise RunError(
                f"{target.path} already exists and is not from {run.path}: rename it, then resume "
                f"{run.path}"
            )
        if target.model_path.exists():
            return target
        shutil.rmtree(target.path)
    shared = SharedTraining(run.path.name, checkpoint.config.lengths)
    split = Run.create(
        target.path.parent,
        target.path.name,
        dataclasses.replace(saved, training=config, shared=shared),
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
        write_whole(copy, read_file(source, "text_bytes"))
    return split


def _was_split_from(target: Run, run: Run) -> bool:
    """Whether a folder was split from a run, completely or until an interruption."""
    if not target.config_path.exists():
        return target.is_cut_off()
    shared = target.read_config().shared
    return shared is not None and shared.run == run.path.name


def _one_head(model: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Tensors of the model with only one of its heads."""
    tensors = {}
    for name, value in model.items():
        part, _, rest = name.partition(".")
        if part not in _PER_LENGTH:
            tensors[name] = value
        elif rest.partition(".")[0] == str(index):
            tensors[f"{part}.0.{rest.partition('.')[2]}"] = value
    return tensors
