"""What a search works on: banks, the model that made them, and their images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hashkit.bank.reader import Bank
from hashkit.bank_set.opening import open_banks
from hashkit.codesets import check_one_model
from hashkit.errors import RunError
from hashkit.model_names import shown_sha256
from hashkit.runs.run import Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.banks import note_missing_queries, query_names, run_bank
from hashkit.workflow.models import builtin_of_banks, check_made_by, find_exported
from hashkit.workflow.repeated import check_each_once
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.row_images import RowImages

if TYPE_CHECKING:
    from hashkit.preprocess import ImageSource
    from hashkit.runtimes.encoder import Encoder

__all__ = ["SearchPlace", "run_in_place"]


class SearchPlace:
    """Banks, the model that made them, and their images.

    Parameters
    ----------
    banks
        Banks and bank sets to search; None for the run's bank.
    model
        The model's file; None for a built-in one that made the banks, otherwise the run's.
    run, runs
        The run, or the folder whose newest run is used, if banks or model are not given.
    settings
        How to run the model.
    n_workers
        Decoding threads; None for one per core.
    data_root
        Where the images' folder is now; None for where the banks say.
    needs_model
        Whether images are encoded; otherwise no model is looked for.
    needs_images
        Whether the images of rows are looked up.
    reporter
        Takes notes and progress.

    Attributes
    ----------
    images
        Finds the image of a row.
    """

    def __init__(
        self,
        banks: Sequence[Path] | None,
        model: Path | None,
        run: Path | None,
        runs: Path,
        settings: RuntimeSettings,
        *,
        n_workers: int | None = None,
        data_root: Path | None = None,
        needs_model: bool = True,
        needs_images: bool = True,
        reporter: Reporter = SILENT,
    ) -> None:
        self.settings = settings
        self.n_workers = n_workers
        self.needs_images = needs_images
        self.run: Run | None = None
        self._reporter = reporter
        self._is_warned = False
        check_each_once(banks or ())
        opened = [bank for path in banks or () for bank in open_banks(path)]
        check_one_model(opened)
        if needs_model and model is None and run is None:
            model = builtin_of_banks(opened, reporter)
        if not opened or (model is None and (needs_model or run is not None)):
            self.run = run_in_place(opened, run, runs, reporter)
        self.images = RowImages(self.run, data_root)
        self._model = model
        self._named_banks = opened

    @functools.cached_property
    def banks(self) -> Sequence[Bank]:
        """The banks; that of a run is encoded on first use if it is missing."""
        if self._named_banks:
            return self._named_banks
        bank = Bank.open(self.run_bank("database", self.encoder if self._model else None))
        assert self.run is not None  # noqa: S101 - without banks there is a run
        note_missing_queries(self.run, self._reporter)
        return [bank]

    @functools.cached_property
    def _starts(self) -> list[int]:
        return list(itertools.accumulate(map(len, self.banks), initial=0))

    @property
    def n_rows(self) -> int:
        """Rows of all banks, deleted ones included."""
        return self._starts[-1]

    def numbered_banks(self) -> Iterator[tuple[int, Bank]]:
        """The number of each bank's first row, and the bank."""
        yield from zip(self._starts, self.banks, strict=False)

    def locate(self, row: int) -> tuple[Bank, int]:
        """The bank of a row, and the row there."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.banks[number], row - self._starts[number]

    def is_deleted(self, row: int) -> bool:
        """Whether a row is deleted."""
        bank, bank_row = self.locate(row)
        return bank.deleted is not None and bool(bank.deleted[bank_row])

    def image_of(self, row: int) -> ImageSource | None:
        """The image of a row; None if it is not available."""
        return self.images(*self.locate(row))

    def run_bank(
        self, part: Literal["queries", "database"], encoder: Encoder | None = None
    ) -> Path:
        """The bank of the run's queries or database, encoded first if it is missing."""
        assert self.run is not None  # noqa: S101 - by __init__
        return run_bank(self.run, part, self.settings, encoder, self.n_workers, self._reporter)

    def run_query_names(self) -> Collection[str] | None:
        """Names of the run's queries; None if there is no run, or it has no queries."""
        if self.run is None:
            return None
        try:
            return query_names(self.run)
        except RunError:  # a run that learned from triplets has no queries
            return None

    @functools.cached_property
    def encoder(self) -> Encoder:
        """The model, loaded on first use."""
        from hashkit.workflow.encoding import load_encoder
        from hashkit.workflow.models import run_model

        model = self._model
        if model is None:
            assert self.run is not None  # noqa: S101 - by __init__
            model = run_model(self.run)
        return load_encoder(model, self.settings, self._reporter)

    def check_query_model(self) -> None:
        """Raise `BankMismatchError` unless the model made the banks; warn of another resampler."""
        from hashkit.preprocess import resampler

        self.check_model(self.encoder.model_sha256)
        self.warn_of_resampler("the query", resampler())

    def check_model(self, model_sha256: str) -> None:
        """Raise `BankMismatchError` unless all banks were made by this model."""
        check_made_by(self.banks, model_sha256)

    def warn_of_resampler(self, what: str, library: str) -> None:
        """Warn, once, if the banks' images were resized by another library than the queries."""
        from hashkit.workflow.resamplers import warn_of_other_resamplers

        if not self._is_warned:
            self._is_warned = True
            banks = [(str(bank.path), bank.header.resampler) for bank in self.banks]
            warn_of_other_resamplers([(what, library), *banks], self._reporter)


def run_in_place(banks: Sequence[Bank], run: Path | None, runs: Path, reporter: Reporter) -> Run:
    """The run to use if banks or a model are not named; the error says what to name otherwise."""

    def instead(here: Path | None) -> str:
        if banks:
            model = shown_sha256(banks[0].header.model_sha256)
            return f"name the model that made {banks[0].path} with `model=...` ({model})"
        if here is None:
            return "name a bank with `bank=...`"
        return f'{here} lies here: name it with `bank="{here}"`'

    return find_exported(run, runs, reporter, instead=instead)
