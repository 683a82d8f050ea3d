"""Splitting a training of several code lengths into one run folder per length."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torch import Tensor

from hashkit.runs.length_runs import copy_record, new_length_run
from hashkit.runs.run import Run, run_name
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
    return [_split_off(run, checkpoint, index) for index in range(len(checkpoint.config.lengths))]


def _split_off(run: Run, checkpoint: Checkpoint, index: int) -> Run:
    n_bits = checkpoint.config.lengths[index]
    name = run_name(run.path.name, n_bits)
    with locked_run(run.path.parent / name, "export"):  # it may be removed and made again
        split, is_new = new_length_run(run, checkpoint.config, n_bits)
        if is_new:
            _write_part(run, checkpoint, index, split)
        return split


def _write_part(run: Run, checkpoint: Checkpoint, index: int, split: Run) -> None:
    n_bits = checkpoint.config.lengths[index]
    write_checkpoint(
        split.best_path,
        Checkpoint(
            step=checkpoint.step,
            config=dataclasses.replace(checkpoint.config, lengths=(n_bits,)),
            manifest=dataclasses.replace(checkpoint.manifest, n_bits=n_bits),
            model=_one_head(checkpoint.model, index),
            losses={},
            optimiser={},
            state=checkpoint.state,
        ),
    )
    copy_record(run, split)


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
