"""What ``hashkit evaluate`` writes: JSON, the run's metrics, tables and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hashkit.cli.console import emit_json, note
from hashkit.runs.run import Run

if TYPE_CHECKING:
    from hashkit.evaluation.report import Report
    from hashkit.report.evaluations import Evaluation
    from hashkit.workflow.evaluation import Subject
    from hashkit.workflow.leaks import Leaks

__all__ = ["emit_evaluations", "keep_evaluation", "save_evaluation_page", "save_tables"]


def keep_evaluation(evaluation: Evaluation, run: Run) -> None:
    """Write the metrics into the run's folder; if that fails, only warn."""
    from hashkit.messages.os_errors import cannot_write
    from hashkit.report.evaluations import FILE_NAME, save_evaluation

    try:
        save_evaluation(evaluation, run.path / FILE_NAME)
    except OSError as error:
        note(f"warning: {cannot_write(error, run.path / FILE_NAME)}")


def emit_evaluations(
    evaluations: Sequence[Evaluation],
    leaks: Leaks | None,
    *,
    with_beside: bool,
    with_baselines: bool,
) -> None:
    """Print the first evaluation as a JSON document, with the others and the leaks if wanted."""
    own, *others = evaluations
    document = dict(own.fields)
    if leaks is not None:
        document["leaks"] = leaks.to_dict()
    if with_beside:
        document["beside"] = [other.to_dict() for other in others if not other.is_baseline]
    if with_baselines:
        document["baselines"] = [
            {"name": other.name, **other.fields} for other in others if other.is_baseline
        ]
    emit_json(document)


def save_tables(
    evaluations: Sequence[Evaluation],
    csv: Path | None,
    latex: Path | None,
    ks: Sequence[int] | None,
) -> None:
    """Write the tables that were asked for; ``ks`` are the k of the LaTeX table."""
    from hashkit.report.evaluations import in_column_order
    from hashkit.report.result_table import csv_text, latex_text
    from hashkit.report.templates import save_text

    rows = in_column_order(evaluations)
    if csv is not None:
        save_text(csv, csv_text(rows))
        note(f"table: {csv}")
    if latex is not None:
        save_text(latex, latex_text(rows, ks))
        note(f"table: {latex}")


def save_evaluation_page(
    path: Path,
    evaluations: Sequence[Evaluation],
    subject: Subject,
    report: Report,
) -> None:
    """Write the HTML page, with example queries of the first evaluation."""
    from hashkit.report.examples import find_examples
    from hashkit.report.page import PageContent, save_page

    own, *others = evaluations
    examples = find_examples(
        subject.queries,
        subject.databases,
        report.average_precision,
        subject.images,
        exclude_self=report.exclude_self,
    )
    save_page(PageContent(own, others, examples), path)
    note(f"page: {path}")
