"""The run and the model that a command works with."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.errors import (
    BankMismatchError,
    CheckpointError,
    ConfigError,
    ModelError,
    RunError,
)
from hashkit.model_names import builtin_name, shown_sha256
from hashkit.runs.checkpoint_header import read_checkpoint_manifest
from hashkit.runs.run import DEFAULT_RUNS_DIR, Run
from hashkit.runtimes.builtin import model_path
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.workflow.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank

__all__ = [
    "builtin_of_banks",
    "check_made_by",
    "find_exported",
    "find_model",
    "find_run",
    "is_outdated",
    "kept_model",
    "model_of_banks",
    "run_model",
    "warn_if_outdated",
]


def find_run(run: Path | None, runs: Path, reporter: Reporter = SILENT) -> Run:
    """The named run, otherwise the newest one; its path is noted.

    Raises
    ------
    RunError
        If there is none.
    """
    if run is not None:
        return Run.open(run)
    newest = Run.newest(runs, lambda fault: reporter.note(f"warning: a run is left out: {fault}"))
    reporter.note(f"using the newest run, {newest.path}")
    return newest


def find_exported(
    run: Path | None,
    runs: Path,
    reporter: Reporter = SILENT,
    *,
    instead: Callable[[Path | None], str] | None = None,
) -> Run:
    """The run of `find_run`; notes if its exported model is outdated.

    Parameters
    ----------
    instead
        Text to add to the message if there is no run, as a function of the first bank in the
        working folder, or of None if there is none.

    Raises
    ------
    RunError
        If there is none.
    """
    try:
        found = find_run(run, runs, reporter)
    except RunError as error:
        if run is not None or instead is None:
            raise
        raise RunError(f"{error}; {instead(min(Path().glob('*.h5'), default=None))}") from None
    warn_if_outdated(found, reporter)
    return found


def warn_if_outdated(run: Run, reporter: Reporter) -> None:
    """Report an exported model that has other weights than the run's checkpoint."""
    if is_outdated(run):
        reporter.note(
            f"warning: {run.model_path} is older than the run's checkpoint; export it again with "
            f'`hashkit.export("{run.path}")`'
        )


def find_model(
    model: Path | None, run: Path | None, runs: Path, reporter: Reporter = SILENT
) -> Path:
    """The named model, otherwise the run's.

    Raises
    ------
    RunError
        If the run has none yet.
    """
    if model is not None:
        return model
    found = find_exported(run, runs, reporter, instead=lambda _: "name a model with `model=...`")
    return run_model(found)


def builtin_of_banks(banks: Sequence[Bank], reporter: Reporter = SILENT) -> Path | None:
    """The built-in model that made all banks, which is noted; None if there is none."""
    made_by = {bank.header.model_sha256 for bank in banks}
    name = builtin_name(made_by.pop()) if len(made_by) == 1 else None
    if name is None:
        return None
    reporter.note(f"using the built-in model {name}, which made {banks[0].path}")
    return model_path(name, SILENT.note)


def kept_model(bank: Path, sha256: str, reporter: Reporter = SILENT) -> Path | None:
    """The file of a model, beside a bank or in a run below ``runs/``, which is noted.

    Returns
    -------
    Path or None
        None if no file there has the SHA-256.
    """
    beside = bank.with_name("model.onnx")
    for path in (beside, *sorted(DEFAULT_RUNS_DIR.glob("*/model.onnx"))):
        if sha256 and _is_model(path, sha256):
            reporter.note(f"using {path}, which made {bank}")
            return path
    return None


def _is_model(path: Path, sha256: str) -> bool:
    try:
        return ModelFile.read(path).sha256 == sha256
    except ModelError:
        return False


def model_of_banks(banks: Sequence[Bank], what: str, reporter: Reporter = SILENT) -> Path:
    """The model that made all banks, which is noted: a built-in one, or one of `kept_model`.

    Parameters
    ----------
    what
        What needs a model, for the message.

    Raises
    ------
    ConfigError
        If it is not there, or the banks were made by several models.
    """
    found = builtin_of_banks(banks, reporter)
    if found is not None:
        return found
    made_by = {bank.header.model_sha256 for bank in banks}
    named = ""
    if len(made_by) == 1:
        sha256 = made_by.pop()
        found = kept_model(banks[0].path, sha256, reporter)
        if found is not None:
            return found
        named = f" ({shown_sha256(sha256)})"
    raise ConfigError(
        f"{what} needs the model that made {banks[0].path if banks else 'the codes'}{named}, which "
        f"is not built in, and was not found beside the bank or in {DEFAULT_RUNS_DIR}/: name its "
        "file with `model=...`"
    )


def check_made_by(banks: Iterable[Bank], model_sha256: str) -> None:
    """Raise `BankMismatchError` unless all banks were made by a model, given by its SHA-256."""
    for bank in banks:
        if bank.header.model_sha256 != model_sha256:
            raise BankMismatchError(
                f"{bank.path} was made by another model: expected "
                f"{shown_sha256(bank.header.model_sha256)}, found {shown_sha256(model_sha256)}; "
                f"give its `model=...`, or encode the images again with {_command_to_remake(bank)}"
            )


def _command_to_remake(bank: Bank) -> str:
    """The command that makes a bank again."""
    from hashkit.collection.bank_of_folder import followed_folder  # h5py takes long to import

    folder = followed_folder(bank)
    if folder is None:
        return "hashkit encode --overwrite"
    return f"hashkit sync {shlex.quote(folder)} --bank {shlex.quote(str(bank.path))} --model MODEL"


def run_model(run: Run) -> Path:
    """The exported model of a run.

    Raises
    ------
    RunError
        If it has none yet.
    """
    if not run.model_path.is_file():
        if len(run.read_config().training.lengths) > 1:
            parts = ", ".join(str(part.path) for part in run.per_length().values())
            raise RunError(f"{run.path} has one run per code length: use one of them: {parts}")
        raise RunError(f'{run.path} has no model yet: `hashkit.export("{run.path}")` makes it')
    return run.model_path


def is_outdated(run: Run) -> bool:
    """Whether the exported model has other weights than the checkpoint that would be exported.

    False if one of the two is missing or does not record its weights.
    """
    try:
        weights = read_checkpoint_manifest(run.checkpoint_path()).weights_sha256
        exported = read_onnx_file(run.model_path).manifest.weights_sha256
    except (CheckpointError, ModelError, RunError):
        return False
    return "" not in (weights, exported) and weights != exported
