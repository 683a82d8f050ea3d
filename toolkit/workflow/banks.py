"""The banks of a run, encoded where they are missing.

ONNX Runtime is imported only to encode, so that a run with complete banks is searched and
evaluated without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hashkit.bank.reader import Bank
from hashkit.errors import BankMismatchError
from hashkit.files import file_digest
from hashkit.runs.run import Run, bank_path
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.training_source import run_spec

if TYPE_CHECKING:
    from hashkit.runtimes.encoder import Encoder

__all__ = ["run_bank"]


def run_bank(
    run: Run,
    part: Literal["queries", "database"],
    settings: RuntimeSettings | None = None,
    encoder: Encoder | None = None,
    n_workers: int | None = None,
    reporter: Reporter = SILENT,
) -> Path:
    """The bank of a run's queries or database, encoded first if it is missing or incomplete.

    Parameters
    ----------
    run, part
        The run, and which of its banks.
    settings
        How to run the model if the bank is encoded; None for the defaults.
    encoder
        The model, if it is already loaded.
    n_workers
        Decoding threads if the bank is encoded; None for one per core.
    reporter
        Takes notes and progress of the encoding.

    Raises
    ------
    BankMismatchError
        If it is complete, but the run's model was exported again since.
    """
    path = bank_path(run, part)
    if path.is_file() and (bank := Bank.open(path)).is_complete:
        _check_model(run, bank)
        return path
    from hashkit.workflow.encoding import EncodeOptions, encode_run_part, load_encoder
    from hashkit.workflow.models import run_model

    run_spec(run)  # refuses a run without one before a model is loaded
    settings = settings or RuntimeSettings()
    encoder = encoder or load_encoder(run_model(run), settings, reporter)
    options = EncodeOptions(batch_size=settings.batch_size, n_workers=n_workers)
    encode_run_part(run, part, encoder, options, reporter)
    return path


def _check_model(run: Run, bank: Bank) -> None:
    if not run.model_path.is_file():
        return
    found = file_digest(run.model_path, "sha256")
    if found != bank.header.model_sha256:
        raise BankMismatchError(
            f"{bank.path} was made by a different model than {run.model_path}: "
            f"hashkit encode --overwrite --run {run.path}"
        )
