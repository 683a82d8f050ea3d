"""The images of a run's banks, on which baselines are compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.codesets import CodeDatabase, CodeSet, kept_rows
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.spec import open_spec
from hashkit.datasets.split import Rows
from hashkit.errors import BankMismatchError
from hashkit.evaluation.split_queries import without_queries
from hashkit.manifest import Manifest
from hashkit.runs.run import Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.banks import run_bank
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.training_source import run_spec

__all__ = ["BaselineSubject"]


@dataclasses.dataclass(frozen=True, eq=False)
class BaselineSubject:
    """A run's banks, and which images of its set are in them.

    Attributes
    ----------
    run
        The run.
    manifest
        Manifest of the model that made the banks.
    images
        The image set.
    queries, database
        Codes, labels and names of the banks, without deleted rows; the queries are left out of a
        bank of all images.
    model_sha256
        SHA-256 of the model that made the banks.
    training, query_rows, database_rows
        int64, rows of the image set: those of the split's training part, and those of the banks'
        codes.
    identity
        Place of the images, and digests of the names of the three parts: inputs of every baseline.
    """

    run: Run
    manifest: Manifest
    images: ImageSet
    queries: CodeSet
    database: CodeSet
    model_sha256: str
    training: Rows
    query_rows: Rows
    database_rows: Rows
    identity: Mapping[str, str | None]

    @classmethod
    def open(cls, run: Run, settings: RuntimeSettings, reporter: Reporter = SILENT) -> Self:
        """Open a run's banks, encoded first if they are missing, and its image set.

        Raises
        ------
        BankMismatchError
            If a bank holds images that are not in the set, or does not record its model.
        RunError, DatasetError
            If the run has no model or no split, or its images cannot be opened.
        """
        images, split = open_spec(run_spec(run))
        queries = Bank.open(run_bank(run, "queries", settings, reporter=reporter))
        whole = Bank.open(run_bank(run, "database", settings, reporter=reporter))
        rest = without_queries(queries, whole, is_one_set=True)
        if whole.header.manifest is None:
            raise BankMismatchError(
                f"{whole.path} does not record the model that made it: {_remedy(run)}"
            )
        places = {name: row for row, name in enumerate(images.names)}
        training = images.subset(split.training)
        query_codes, database_codes = _without_deleted(queries), _without_deleted(rest)
        return cls(
            run,
            whole.header.manifest,
            images,
            query_codes,
            database_codes,
            whole.header.model_sha256,
            split.training,
            _rows_of(query_codes, places, queries.path, run),
            _rows_of(database_codes, places, whole.path, run),
            {
                "dataset": images.name,
                "root": None if images.root is None else str(images.root.absolute()),
                "training": hash_names(training.names, training.labels),
                "queries": hash_names(query_codes.names, None),
                "database": hash_names(database_codes.names, None),
            },
        )

    @property
    def n_bits(self) -> int:
        """Bits of the run's codes."""
        return self.database.n_bits


def _without_deleted(bank: CodeDatabase) -> CodeSet:
    """The rows of a bank that are not deleted."""
    rows = kept_rows(bank)
    labels = None if bank.labels is None else bank.labels[rows]
    names = list(bank.names)
    return CodeSet(
        bank.codes[rows], bank.n_bits, labels, [names[row] for row in rows], bank.class_names
    )


def _rows_of(codes: CodeSet, places: Mapping[str, int], path: Path, run: Run) -> Rows:
    try:
        return np.array([places[name] for name in codes.names], np.int64)
    except KeyError as error:
        raise BankMismatchError(
            f"{path} holds an image that is not in the run's image set, {error.args[0]}: "
            f"{_remedy(run)}"
        ) from None


def _remedy(run: Run) -> str:
    return f"hashkit encode --overwrite --run {run.path}"
