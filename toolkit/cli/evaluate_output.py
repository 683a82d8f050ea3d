"""Evaluations as tables on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from hashkit.cli.console import note
from hashkit.cli.visible import result_console
from hashkit.report.evaluations import Evaluation, in_column_order
from hashkit.report.numbers import CODES, GRADED, MISSING, number_rows

__all__ = ["print_evaluations"]

_MEASURE_WIDTH = 64
_LEAST_MEASURE_WIDTH = 22
_COLUMN_WIDTH = 19


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
        # So that nothing is cut in a pipe.
        console.width = _MEASURE_WIDTH + _COLUMN_WIDTH * len(evaluations)
    columns = in_column_order(evaluations)
    n_columns = max(1, (console.width - _LEAST_MEASURE_WIDTH) // _COLUMN_WIDTH)
    parts = [columns[start : start + n_columns] for start in range(0, len(columns), n_columns)]
    for part in parts:
        console.print(_numbers(columns, part, is_multi_label=is_multi_label))
    if columns[0].fields["per_label"]:
        for part in parts:
            console.print(_labels(columns, part))
    _note_without_relevant(evaluations[0])


def _numbers(
    columns: Sequence[Evaluation], part: Sequence[Evaluation], *, is_multi_label: bool
) -> Table:
    """A table of some of the columns."""
    own = columns[0].fields
    title = (
        f"{own['n_queries']:,} queries, {own['n_database']:,} in the database, {own['bits']} bits"
    )
    if own.get("exclude_self"):
        title += ", without each query's own row"
    table = _table(title, "measure", _headings(columns, part, "value"))
    hidden = {CODES} if len(columns) == 1 else set()
    if not is_multi_label:
        hidden.add(GRADED)
    places = [columns.index(one) for one in part]
    for row in number_rows([one.fields for one in columns]):
        if row.group not in hidden:
            table.add_row(row.label, *(row.values[place] for place in places))
    return table


def _labels(columns: Sequence[Evaluation], part: Sequence[Evaluation]) -> Table:
    table = _table("mAP by label", "label", _headings(columns, part, "mAP"))
    for label in columns[0].fields["per_label"]:
        values = [one.fields["per_label"].get(label) for one in part]
        table.add_row(label, *(MISSING if value is None else f"{value:.4f}" for value in values))
    return table


def _headings(columns: Sequence[Evaluation], part: Sequence[Evaluation], of_one: str) -> list[str]:
    """Headings of some of the columns: names, where there are several columns."""
    return [of_one] if len(columns) == 1 else [one.name for one in part]


def _table(title: str, first: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first, overflow="fold")
    for heading in headings:
        # No narrower than an interval, `0.9192 to 0.9691`; longer names are folded.
        table.add_column(heading, justify="right", overflow="fold", min_width=_COLUMN_WIDTH - 3)
    return table


def _note_without_relevant(evaluation: Evaluation) -> None:
    n_queries = evaluation.fields["n_without_relevant"]
    if n_queries:
        does = {"zero": "count as 0", "drop": "are left out"}
        what = does[evaluation.fields["without_relevant"]]
        note(f"{n_queries:,} queries have no relevant image; they {what}")
