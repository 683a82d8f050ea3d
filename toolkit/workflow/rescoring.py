"""Evaluates rankings whose nearest rows are ordered by the queries' logits.

A bank has only codes, so the queries are encoded again. The ranking up to a cut-off is the one that
`hashkit.search` returns for that ``top_k`` with the same ``oversample``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.codesets import CodeDatabase, CodeSet, kept_rows
from hashkit.errors import EvaluationError
from hashkit.evaluation.own_rows import find_own_rows
from hashkit.evaluation.ranked_hits import RankedHits
from hashkit.evaluation.relevance import match_labels
from hashkit.evaluation.report import Report, Rescored
from hashkit.inputs.arguments import whole_number
from hashkit.preprocess import ImageSource
from hashkit.retrieval.reranking import asymmetric_distances, rescored_order
from hashkit.retrieval.search import search
from hashkit.retrieval.shards import Shards
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.evaluation import Subject
from hashkit.workflow.models import check_made_by, model_of_banks, run_model
from hashkit.workflow.reporter import SILENT, Reporter

__all__ = ["query_logits", "rescored"]

_ENTRIES: Final = 2**22
"""Rows of all queries that are ranked at a time: 40 MiB."""


def query_logits(
    subject: Subject, model: Path | None, settings: RuntimeSettings, reporter: Reporter = SILENT
) -> NDArray[np.float32]:
    """Encode the queries again, and return their logits.

    Parameters
    ----------
    subject
        What is evaluated.
    model
        The model that made the codes; None for that of the subject's run, or a built-in one.
    settings
        How to run it.

    Returns
    -------
    NDArray
        float32 [q, n_bits], of the queries that are not deleted, in order.

    Raises
    ------
    BankMismatchError
        If a bank was made by another model.
    EvaluationError
        If there is no model, images are not available, or the model gives other codes.
    """
    if model is None and subject.run is None:
        model = model_of_banks(list(subject.banks()), "`rerank`", reporter)
    sources = _query_images(subject)
    from hashkit.workflow.encoding import load_encoder

    if model is None:
        assert subject.run is not None  # noqa: S101 - checked above
        model = run_model(subject.run)
    encoder = load_encoder(model, settings, reporter)
    check_made_by(subject.banks(), encoder.model_sha256)
    if encoder.n_bits != subject.queries.n_bits:
        raise EvaluationError(
            f"expected a model of {subject.queries.n_bits} bits, as the queries' codes have, found "
            f"{encoder.n_bits}: give the model that made the codes"
        )
    with reporter.progress("encoding queries", len(sources), "images") as bar:
        logits = encoder.logits(_counted(sources, bar.update))
    _check_finite(logits)
    _compare_codes(subject, logits, reporter)
    return logits


def rescored(
    queries: CodeDatabase,
    databases: Sequence[CodeDatabase],
    logits: NDArray[np.float32],
    report: Report,
    oversample: int,
    progress: Callable[[int], None] | None = None,
) -> Rescored:
    """Metrics up to the report's cut-offs of rankings rescored by the queries' logits.

    Parameters
    ----------
    queries, databases
        The queries and databases of the report.
    logits
        float32 [q, n_bits], of the queries that are not deleted; their codes are those ranked.
    report
        The evaluation by Hamming distance, which gives cut-offs and conventions.
    oversample
        How many times as many rows as the cut-off are ordered, 1 or more.
    progress
        Called with the number of queries that are done.
    """
    oversample = whole_number(oversample, "oversample", 1, sys.maxsize)
    own_rows = find_own_rows(queries, databases) if report.exclude_self else None
    live = _live(queries, logits)
    labels = match_labels(live, databases)
    shards = Shards.of(databases)
    by_logits, by_distance = RankedHits(report), RankedHits(report)
    cutoffs = by_logits.cutoffs
    n_wanted = min(oversample * max(cutoffs, default=0), report.n_database - report.exclude_self)
    size = max(1, _ENTRIES // max(1, n_wanted))
    for start in range(0, len(live), size):
        block = slice(start, start + size)
        found = search(live.codes[block], databases, top_k=n_wanted + report.exclude_self)
        for query, rows in enumerate(found.rows, start):
            if own_rows is not None:
                own_row = shards.offsets[own_rows.database] + own_rows.rows[query]
                rows = rows[rows != own_row][:n_wanted]
            database_of_row = np.searchsorted(shards.offsets, rows, side="right") - 1
            is_hit = labels.is_relevant(
                query, database_of_row, rows - shards.offsets[database_of_row]
            )
            asymmetric = asymmetric_distances(live.codes[query], logits[query], shards.take(rows))
            order = rescored_order(asymmetric)
            # Rows before place n in the list are the n nearest, so one order serves every cut-off.
            near = {c: order < min(oversample * c, len(order)) for c in cutoffs}
            by_logits.add(query, {c: is_hit[order[near[c]][:c]] for c in cutoffs})
            by_distance.add(query, {c: is_hit[:c] for c in cutoffs})
        if progress is not None:
            progress(min(start + size, len(live)))
    metrics = by_logits.means()
    return Rescored(
        metrics.map_at, metrics.precision_at, metrics.recall_at, oversample, by_distance.means()
    )


def _live(queries: CodeDatabase, logits: NDArray[np.float32]) -> CodeSet:
    """The queries that are not deleted, with the codes of their logits."""
    labels = queries.labels
    if labels is not None and queries.deleted is not None:
        labels = labels[~queries.deleted]
    codes = binarize(logits)
    return CodeSet(codes, queries.n_bits, labels, class_names=queries.class_names)


def _query_images(subject: Subject) -> list[ImageSource]:
    """Images of the queries that are not deleted."""
    queries, find = subject.queries, subject.images
    rows = kept_rows(queries).tolist()
    how = (
        "if the folder was moved, give its current path with `data_root=...`; or leave `rerank` out"
    )
    if not len(queries.names):
        raise EvaluationError(
            f"`rerank` expects the queries' images, to encode them again, found only codes: {how}"
        )
    found = [(row, find(queries, row)) for row in rows]
    missing = [row for row, source in found if source is None]
    if missing:
        raise EvaluationError(
            f"`rerank` expects the queries' images, to encode them again, found none for "
            f"{len(missing):,} of {len(rows):,} (such as {queries.names[missing[0]]}): {how}"
        )
    return [source for _, source in found if source is not None]


def _counted(sources: Sequence[ImageSource], done: Callable[[int], None]) -> Iterator[ImageSource]:
    for number, source in enumerate(sources, 1):
        yield source
        done(number)


def _check_finite(logits: NDArray[np.float32]) -> None:
    n_broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if n_broken:
        raise EvaluationError(
            f"expected finite logits, found NaN or infinite ones for {n_broken:,} of "
            f"{len(logits):,} queries: use another model"
        )


def _compare_codes(subject: Subject, logits: NDArray[np.float32], reporter: Reporter) -> None:
    """Warn if the model gives other codes than the bank has, or refuse if it does for most."""
    stored = subject.queries.codes[kept_rows(subject.queries)]
    n_other = int((binarize(logits) != stored).any(axis=1).sum())
    if 2 * n_other > len(logits):
        raise EvaluationError(
            f"expected the codes that the queries have, found other codes for {n_other:,} of "
            f"{len(logits):,} queries: give the model that made the codes, and the same images"
        )
    if n_other:
        reporter.note(
            f"warning: {n_other:,} of {len(logits):,} queries have a different code than before; "
            "the rescored metrics are those of the new codes"
        )
