"""Queries and databases to evaluate, and where they came from."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from hashkit.codesets import CodeDatabase, CodeSet
from hashkit.errors import EvaluationError
from hashkit.evaluation.split_queries import without_queries
from hashkit.report.evaluations import Evaluation
from hashkit.runs.run import Run
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.resamplers import warn_of_other_resamplers
from hashkit.workflow.row_images import RowImages, sources_of
from hashkit.workflow.training_source import run_spec

if TYPE_CHECKING:
    from hashkit.bank.header import BankHeader, BankSource
    from hashkit.bank.reader import Bank
    from hashkit.evaluation.evaluator import Report

__all__ = ["Subject"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """Queries and the databases that are ranked for them.

    Attributes
    ----------
    name
        Name of the evaluation: the run's, or those of the files.
    queries, databases
        Banks or code sets.
    run
        Their run, if any.
    data_root
        Where the images' folder is now; None for where the banks say.
    """

    name: str
    queries: CodeDatabase
    databases: Sequence[CodeDatabase]
    run: Run | None = None
    data_root: Path | None = None

    @classmethod
    def of_run(
        cls,
        run: Run,
        settings: RuntimeSettings,
        n_workers: int | None = None,
        reporter: Reporter = SILENT,
    ) -> Subject:
        """The banks of a run, encoded first if they are missing.

        Raises
        ------
        EvaluationError
            If they are missing, and the run's images have no labels to evaluate them by.
        """
        from hashkit.bank.reader import Bank
        from hashkit.workflow.banks import run_bank

        def bank(part: Literal["queries", "database"]) -> Bank:
            path = run_bank(run, part, settings, n_workers=n_workers, reporter=reporter)
            return Bank.open(path)

        if not (run.queries_path.is_file() and run.bank_path.is_file()):
            _check_labelled(run)
        queries = bank("queries")
        database = without_queries(queries, bank("database"), is_one_set=True)
        return cls(run.path.resolve().name, queries, [database], run)

    @classmethod
    def of_codes(
        cls, name: str, queries: CodeDatabase, databases: Sequence[CodeDatabase]
    ) -> Subject:
        """Banks or code sets; queries of a split are left out of a bank of all its images."""
        return cls(name, queries, [without_queries(queries, one) for one in databases])

    @functools.cached_property
    def images(self) -> RowImages:
        """Finds the images of queries and databases; image sets that it opens are kept."""
        return RowImages(self.run, self.data_root)

    @property
    def n_rows(self) -> int:
        """Rows of the database."""
        return sum(map(len, self.databases))

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have several labels."""
        sets = [self.queries, *self.databases]
        return any(one.labels is not None and one.labels.ndim == 2 for one in sets)

    def warn_of_other_models(self, reporter: Reporter) -> None:
        """Warn if the codes come from several models, such as one in fp32 and one in int8.

        Warn, too, if the images were resized by different libraries.
        """
        banks = list(self.banks())
        resamplers = [(str(bank.path), bank.header.resampler) for bank in banks]
        warn_of_other_resamplers(resamplers, reporter)
        for bank in banks[1:]:
            if bank.header.model_sha256 != banks[0].header.model_sha256:
                reporter.note(
                    f"warning: {banks[0].path} and {bank.path} were made by different models"
                )

    def evaluation(self, report: Report) -> Evaluation:
        """The metrics with the origin of the codes."""
        made_by = next(self.banks(), None)
        return Evaluation(
            name=self.name,
            fields=report.to_dict(),
            title="" if made_by is None else _title(made_by),
            about=dict(self._facts()) | _own_images(report),
            lists=dict(self._lists()),
        )

    def banks(self) -> Iterator[Bank]:
        """The banks among queries and databases."""
        for codes in [self.queries, *self.databases]:
            if not isinstance(codes, CodeSet):
                yield cast("Bank", codes)

    def _facts(self) -> Iterator[tuple[str, str]]:
        made_by = next(self.banks(), None)
        if made_by is not None:
            yield from _model_facts(made_by.header)
        for side, sets in (("queries", [self.queries]), ("database", self.databases)):
            sources = [source for one in sets for source in sources_of(one)]
            if sources:
                yield side, "; ".join(map(_source_text, sources))

    def _lists(self) -> Iterator[tuple[str, str]]:
        for side, sets in (("queries", [self.queries]), ("database", self.databases)):
            sources = [source for one in sets for source in sources_of(one)]
            if sources:
                text = " ".join(source.names_sha256 for source in sources)
                yield side, hashlib.sha256(text.encode()).hexdigest()


def _check_labelled(run: Run) -> None:
    """Refuse a run whose images have no labels, before they are encoded."""
    from hashkit.datasets.spec import open_spec

    images, _ = open_spec(run_spec(run))
    if images.labels is None:
        raise EvaluationError(
            f"expected labels for the images of {run.path}, found none in {images.name}: relevance "
            "is defined by shared labels; sort the images into one folder per class, or evaluate "
            "labelled banks with hashkit evaluate QUERY DATABASE"
        )


def _own_images(report: Report) -> dict[str, str]:
    return {"own images": "left out of their rankings"} if report.exclude_self else {}


def _model_facts(header: BankHeader) -> Iterator[tuple[str, str]]:
    if header.model_sha256:
        yield "model", f"SHA-256 {header.model_sha256[:16]}…"
    manifest = header.manifest
    if manifest is not None:
        for name in ("network", "loss", "recipe"):
            if text := getattr(manifest, name):
                yield name, text
        if manifest.dataset:
            seed = "" if manifest.seed is None else f"seed {manifest.seed}"
            yield "trained on", _listed([manifest.dataset, manifest.protocol, seed])
    if text := _listed([header.runtime, header.provider, header.precision]):
        yield "codes by", text


def _title(bank: Bank) -> str:
    manifest = bank.header.manifest
    if manifest is None:
        return ""
    return _listed([manifest.network, manifest.loss, manifest.dataset, manifest.protocol])


def _source_text(source: BankSource) -> str:
    seed = "" if source.seed is None else f"split seed {source.seed}"
    part = "" if source.part == "all" else source.part
    images = "" if source.n_images is None else f"{source.n_images:,} images"
    return _listed([Path(source.dataset).name, source.protocol, part, seed, images])


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(part for part in parts if part)
