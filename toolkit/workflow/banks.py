"""The banks of a run, encoded where they are missing.

ONNX Runtime is imported only to encode, so that a run with complete banks is searched and
evaluated without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hashkit.bank.reader import Bank
from hashkit.errors import BankMismatchError
from hashkit.files.writing import file_digest
from hashkit.runs.run import Run, bank_path
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.training_source import run_spec

if TYPE_CHECKING:
    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.pipeline import EncodeReport
    from hashkit.workflow.encoding import EncodeOptions

__all__ = ["encode_run_part", "run_bank"]


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
        if run.model_path.is_file():
            _check_model(run, bank, file_digest(run.model_path, "sha256"))
        return path
    from hashkit.workflow.encoding import EncodeOptions, load_encoder
    from hashkit.workflow.models import run_model

    run_spec(run)  # refuses a run without one before a model is loaded
    settings = settings or RuntimeSettings()
    encoder = encoder or load_encoder(run_model(run), settings, reporter)
    options = EncodeOptions(batch_size=settings.batch_size, n_workers=n_workers)
    encode_run_part(run, part, encoder, options, reporter)
    return path


def encode_run_part(
    run: Run,
    part: Literal["queries", "database"],
    encoder: Encoder,
    options: EncodeOptions,
    reporter: Reporter = SILENT,
) -> EncodeReport:
    """Encode the queries or the database of a run into its folder.

    Raises
    ------
    BankMismatchError
        If its bank is to be continued, but is of another model.
    """
    from hashkit.datasets.spec import open_spec  # with all image sets and their downloads
    from hashkit.workflow.encoding import encode_set

    path = bank_path(run, part)
    if options.mode == "resume" and path.is_file():
        with Bank.open(path) as bank:
            _check_model(run, bank, encoder.model_sha256)
    spec = run_spec(run)
    images, split = open_spec(spec)
    return encode_set(
        encoder,
        images.subset(split.part(part)),
        path,
        dataset=spec.data,
        options=options,
        protocol=split.protocol,
        part=part,
        seed=split.seed,
        reporter=reporter,
    )


def _check_model(run: Run, bank: Bank, model_sha256: str) -> None:
    if model_sha256 != bank.header.model_sha256:
        raise BankMismatchError(
            f"{bank.path} was made by a different model than {run.model_path}: "
            f"hashkit encode --overwrite --run {run.path}"
        )
