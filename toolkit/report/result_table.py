"""Evaluations as the rows of a table for other programs: CSV, and LaTeX for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hashkit.files.csv_text import csv_text as csv_of_rows
from hashkit.messages.visible_text import visible
from hashkit.report.evaluations import Evaluation

__all__ = ["csv_text", "latex_text"]

_FACTS: Final = ("bits", "n_queries", "n_database", "convention", "without_relevant")
_VALUES: Final = (
    *("map_best", "map_worst", "map_index", "map_at", "precision_at", "recall_at", "ndcg_at"),
    *("precision_radius_2", "empty_radius_2", "n_without_relevant"),
)

_PAPER_KS: Final = ("10", "100", "1000")
"""The k of a paper's table, unless others are asked for."""

_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    **{character: f"\\{character}" for character in "&%$#_"},
}
"""What LaTeX would read as a command or as another character."""

Fields = Mapping[str, Any]


def csv_text(evaluations: Sequence[Evaluation]) -> str:
    """One line per evaluation, in their order, and one column per number, unrounded.

    The columns are named like the fields of the JSON, with the cutoff at the end:
    ``precision_at_100``. A number that an evaluation does not have is left empty.
    """
    rows = [dict(_csv_cells(evaluation)) for evaluation in evaluations]
    names: list[str] = []
    for row in rows:
        last = -1
        for name in row:
            if name in names:
                last = names.index(name)
            else:  # beside the columns that it belongs to
                last += 1
                names.insert(last, name)
    return csv_of_rows(names, [[row.get(name, "") for name in names] for row in rows])


def _csv_cells(evaluation: Evaluation) -> Iterator[tuple[str, Any]]:
    yield "name", evaluation.name
    yield "title", evaluation.title
    yield "is_baseline", int(evaluation.is_baseline)
    for name in _FACTS:
        yield name, evaluation.fields.get(name, "")
    yield "exclude_self", int(bool(evaluation.fields.get("exclude_self")))
    yield "map", evaluation.fields["map"]
    low, high = evaluation.fields.get("map_interval") or ("", "")
    yield "map_low", low
    yield "map_high", high
    for name in _VALUES:
        value = evaluation.fields.get(name)
        if isinstance(value, Mapping):
            yield from ((f"{name}_{cutoff}", number) for cutoff, number in value.items())
        elif value is not None:
            yield name, value


def latex_text(evaluations: Sequence[Evaluation], ks: Sequence[int] | None = None) -> str:
    """A ``tabular`` with one row per evaluation, in their order, for the package booktabs.

    Columns: method, bits, mAP with its interval, mAP@R, precision and recall at k, and precision
    within 2 bits. The best value of a column is bold, among the rows of the same number of bits if
    there are several of them; baselines are set apart by a rule.

    Parameters
    ----------
    ks
        The k of precision and recall; None for those of 10, 100 and 1,000 that were measured, or
        all if none of these was.
    """
    columns = _paper_columns(evaluations, None if ks is None else [str(k) for k in ks])
    best = {
        (label, bits): _best(cells, evaluations, bits)
        for label, cells in columns.items()
        for bits in {evaluation.fields["bits"] for evaluation in evaluations}
    }
    lines = [
        *_comments(evaluations),
        rf"\begin{{tabular}}{{lr{'r' * len(columns)}}}",
        r"\toprule",
        " & ".join(["Method", "Bits", *columns]) + r" \\",
        r"\midrule",
    ]
    for number, evaluation in enumerate(evaluations):
        if number and evaluation.is_baseline and not evaluations[number - 1].is_baseline:
            lines.append(r"\midrule")
        bits = evaluation.fields["bits"]
        shown = [
            _paper_cell(evaluation, label, cells[number], best[label, bits])
            for label, cells in columns.items()
        ]
        lines.append(" & ".join([_escaped(_paper_name(evaluation)), str(bits), *shown]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _paper_columns(
    evaluations: Sequence[Evaluation], ks: Sequence[str] | None
) -> dict[str, list[float | None]]:
    """Values of all evaluations by column heading; None where an evaluation has none."""
    columns: dict[str, list[float | None]] = {
        "mAP": [evaluation.fields["map"] for evaluation in evaluations]
    }
    for field, heading in (("map_at", "mAP"), ("precision_at", "P"), ("recall_at", "R")):
        cutoffs = {key for evaluation in evaluations for key in evaluation.fields[field]}
        if field != "map_at":
            cutoffs = cutoffs & set(ks) if ks else cutoffs & set(_PAPER_KS) or cutoffs
        for cutoff in sorted(cutoffs, key=int):
            values = [evaluation.fields[field].get(cutoff) for evaluation in evaluations]
            columns[f"{heading}@{int(cutoff)}"] = values
    columns[r"P@$r \le 2$"] = [
        evaluation.fields["precision_radius_2"] for evaluation in evaluations
    ]
    return columns


def _best(
    cells: Sequence[float | None], evaluations: Sequence[Evaluation], bits: int
) -> float | None:
    """The best value of the rows of a number of bits; None if there is nothing to compare."""
    values = [
        cell
        for cell, evaluation in zip(cells, evaluations, strict=True)
        if cell is not None and evaluation.fields["bits"] == bits
    ]
    return max(values) if len(values) > 1 else None


def _paper_cell(evaluation: Evaluation, label: str, value: float | None, best: float | None) -> str:
    if value is None:
        return "--"
    text = f"{value:.3f}"
    # What looks equal in the table is equally good.
    shown = rf"\textbf{{{text}}}" if best is not None and text == f"{best:.3f}" else text
    ends = evaluation.fields.get("map_interval")
    if label == "mAP" and ends:
        return rf"{shown} {{\scriptsize [{ends[0]:.3f}, {ends[1]:.3f}]}}"
    return shown


def _paper_name(evaluation: Evaluation) -> str:
    """The name for a narrow column; for a baseline, without what it was fitted on."""
    return evaluation.name.partition(" on ")[0] if evaluation.is_baseline else evaluation.name


def _comments(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """What the numbers mean, for the person who writes the caption."""
    own = evaluations[0].fields
    yield r"% Needs \usepackage{booktabs}."
    queries, database = f"{own['n_queries']:,} queries", f"{own['n_database']:,} in the database"
    yield f"% {queries}, {database}. mAP: whole ranking, mean over tie orders, all relevant images;"
    level = (own.get("interval") or {"level": 0.95})["level"]
    yield f"% brackets: {level:.0%} interval, by bootstrap over queries."
    yield f"% mAP@R: convention {visible(str(own['convention']))}. P@r<=2: within 2 bits, empty 0."
    for evaluation in evaluations:
        if (name := _paper_name(evaluation)) != evaluation.name:
            yield f"% {visible(name)}: {visible(evaluation.name)}."


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    escaped = "".join(_ESCAPES.get(character, character) for character in visible(text))
    return re.sub("-(?=-)", "-{}", escaped)  # two in a row would become a dash
