"""Evaluations as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from hashkit.cli.console import note
from hashkit.cli.visible import result_console
from hashkit.report.evaluations import Evaluation, in_column_order
from hashkit.report.numbers import CODES, GRADED, MISSING, number_rows

__all__ = ["print_evaluations"]


def print_evaluations(evaluations: Sequence[Evaluation], *, is_multi_label: bool) -> None:
    """Print all numbers, and mAP by label, on standard output.

    Parameters
    ----------
    evaluations
        One column each, in `in_column_order`; the first is the requested one.
    is_multi_label
        Whether images may have several labels; otherwise graded metrics add nothing and are left
        out.
    """
    console = result_console()
    if not console.is_terminal and len(evaluations) > 1:
        console.width = 64 + 24 * len(evaluations)  # so that nothing is cut in a pipe
    console.print(_numbers(evaluations, is_multi_label=is_multi_label))
    if evaluations[0].fields["per_label"]:
        console.print(_labels(evaluations))
    _note_without_relevant(evaluations[0])


def _numbers(evaluations: Sequence[Evaluation], *, is_multi_label: bool) -> Table:
    own = evaluations[0].fields
    title = (
        f"{own['n_queries']:,} queries, {own['n_database']:,} in the database, {own['bits']} bits"
    )
    if own.get("exclude_self"):
        title += ", without each query's own row"
    columns = in_column_order(evaluations)
    table = _table(title, "measure", _headings(columns, "value"))
    hidden = {CODES} if len(evaluations) == 1 else set()
    if not is_multi_label:
        hidden.add(GRADED)
    for row in number_rows([one.fields for one in columns]):
        if row.group not in hidden:
            table.add_row(row.label, *row.values)
    return table


def _labels(evaluations: Sequence[Evaluation]) -> Table:
    columns = in_column_order(evaluations)
    table = _table("mAP by label", "label", _headings(columns, "mAP"))
    for label in evaluations[0].fields["per_label"]:
        values = [one.fields["per_label"].get(label) for one in columns]
        table.add_row(label, *(MISSING if value is None else f"{value:.4f}" for value in values))
    return table


def _headings(evaluations: Sequence[Evaluation], of_one: str) -> list[str]:
    """Headings of the columns: names, where there are several."""
    return [of_one] if len(evaluations) == 1 else [one.name for one in evaluations]


def _table(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    return table


def _note_without_relevant(evaluation: Evaluation) -> None:
    n_queries = evaluation.fields["n_without_relevant"]
    if n_queries:
        does = {"zero": "count as 0", "drop": "are left out"}
        what = does[evaluation.fields["without_relevant"]]
        note(f"{n_queries:,} queries have no relevant image; they {what}")
