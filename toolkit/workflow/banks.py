"""The banks of a run, encoded where they are missing.

The bank that is searched holds the database of the run's split. If the images are the user's own
and split at random, it holds the queries too, so that all images are found; an evaluation leaves
them out (`hashkit.evaluation.split_queries`).

ONNX Runtime is imported only to encode, so a run with complete banks is searched and evaluated
without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from hashkit.bank.reader import Bank
from hashkit.errors import BankMismatchError
from hashkit.files.writing import file_digest
from hashkit.runs.run import Run, bank_path
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import SILENT, Reporter, plural
from hashkit.workflow.training_source import run_spec

if TYPE_CHECKING:
    from hashkit.datasets.split import PartName, Split
    from hashkit.runs.data_spec import DataSpec
    from hashkit.runtimes.encoder import Encoder
    from hashkit.runtimes.pipeline import EncodeReport
    from hashkit.workflow.encoding import EncodeOptions

__all__ = [
    "encode_run_part",
    "is_own_collection",
    "note_missing_queries",
    "query_names",
    "run_bank",
]

_RANDOM_DRAWS: Final = ("per-class", "per-class-unlabelled", "random")
"""Protocols that draw queries at random, in numbers that no publication fixes."""


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
        If the bank is complete, but the run's model has been exported again since.
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


def query_names(run: Run) -> Sequence[str]:
    """Names of a run's queries, from their bank or, without one, from the run's images.

    Raises
    ------
    RunError
        If the run learned from triplets, which has no queries.
    """
    path = bank_path(run, "queries")
    if path.is_file() and (bank := Bank.open(path)).is_complete:
        return list(bank.names)
    from hashkit.datasets.spec import open_spec

    images, split = open_spec(run_spec(run))
    return images.subset(split.queries).names


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
        If its bank is to be continued, but was made by another model.
    """
    from hashkit.datasets.spec import open_spec  # with all image sets and their downloads
    from hashkit.workflow.encoding import encode_set

    path = bank_path(run, part)
    if options.mode == "resume" and path.is_file():
        with Bank.open(path) as bank:
            _check_model(run, bank, encoder.model_sha256)
    spec = run_spec(run)
    images, split = open_spec(spec)
    stored: PartName = part
    if part == "database" and is_own_collection(spec, split, len(images)):
        stored = "database" if options.mode == "resume" and _lacks_queries(path) else "all"
    if stored == "all" and images.labels is not None:
        reporter.note(
            f"{path} holds all images; hashkit evaluate leaves its "
            f"{plural(len(split.queries), 'query', 'queries')} out of it"
        )
    return encode_set(
        encoder,
        images.subset(split.part(stored)),
        path,
        dataset=spec.data,
        options=options,
        protocol=split.protocol,
        part=stored,
        seed=split.seed,
        reporter=reporter,
    )


def is_own_collection(spec: DataSpec, split: Split, n_images: int) -> bool:
    """Whether the bank of a run holds all images of its set, the queries included.

    This is so for a folder or a list whose queries are drawn at random and whose other images are
    all in the database. Named sets, published splits and other protocols keep their databases.
    """
    from hashkit.datasets.sets import IMAGE_SETS

    is_own = spec.data not in IMAGE_SETS and spec.query_list is None
    is_drawn = split.protocol in _RANDOM_DRAWS
    return is_own and is_drawn and len(split.queries) + len(split.database) == n_images


def note_missing_queries(run: Run, reporter: Reporter) -> None:
    """Note if the bank of a run on the user's own images lacks the queries, as older banks do."""
    with Bank.open(run.bank_path) as bank:
        source = bank.sources[-1] if bank.sources else None
    if source is None or source.part != "database" or source.protocol not in _RANDOM_DRAWS:
        return
    # A path is absolute and a name is not; importing all named sets would delay every search.
    if Path(source.dataset).is_absolute():
        reporter.note(
            f"{run.bank_path} lacks the images that are queries of hashkit evaluate, so that they "
            f"are not found: hashkit encode --overwrite --run {run.path} makes it of all images"
        )


def _lacks_queries(path: Path) -> bool:
    """Whether a bank exists and holds only the database of a split."""
    if not path.is_file():
        return False
    with Bank.open(path) as bank:
        return bool(bank.sources) and bank.sources[-1].part == "database"


def _check_model(run: Run, bank: Bank, model_sha256: str) -> None:
    if model_sha256 != bank.header.model_sha256:
        raise BankMismatchError(
            f"{bank.path} was made by a different model than {run.model_path}: "
            f"hashkit encode --overwrite --run {run.path}"
        )
