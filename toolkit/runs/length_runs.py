"""Run folders of the code lengths of a training."""

from __future__ import annotations

import dataclasses
import shutil

from hashkit.errors import RunError
from hashkit.files.writing import write_whole
from hashkit.inputs.opening import read_file
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run, run_name
from hashkit.runs.run_config import SharedTraining

__all__ = ["copy_record", "new_length_run"]


def new_length_run(run: Run, config: TrainConfig, n_bits: int) -> tuple[Run, bool]:
    """Create the run folder of one code length next to the run of several.

    A folder that exists already from this run is replaced, unless it contains an exported model.

    Parameters
    ----------
    run
        The run of several lengths.
    config
        Its settings.
    n_bits
        The code length.

    Returns
    -------
    tuple
        The run, and whether it is new; otherwise it has an exported model and was not changed.

    Raises
    ------
    RunError
        If another file or run has its name.
    """
    target = Run(run.path.parent / run_name(run.path.name, n_bits))
    if target.path.exists():
        if not _was_split_from(target, run):
            raise RunError(
                f"{target.path} already exists and is not from {run.path}: rename it, then resume "
                f"{run.path}"
            )
        if target.model_path.exists():
            return target, False
        shutil.rmtree(target.path)
    changed = dataclasses.replace(
        run.read_config(),
        training=dataclasses.replace(config, lengths=(n_bits,)),
        shared=SharedTraining(run.path.name, config.lengths),
    )
    return Run.create(target.path.parent, target.path.name, changed), True


def copy_record(run: Run, target: Run) -> None:
    """Copy the summary, and the metrics if there are some, to the run of one code length."""
    for source, copy in (
        (run.metrics_path, target.metrics_path),
        (run.summary_path, target.summary_path),
    ):
        if source.is_file():
            write_whole(copy, read_file(source, "text_bytes"))


def _was_split_from(target: Run, run: Run) -> bool:
    """Whether a folder was split from a run, completely or until an interruption."""
    if not target.config_path.exists():
        return target.is_cut_off()
    shared = target.read_config().shared
    return shared is not None and shared.run == run.path.name
