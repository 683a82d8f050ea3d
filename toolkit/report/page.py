"""Evaluations as one self-contained HTML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hashkit.report.charts import swatch
from hashkit.report.code_figures import distance_figure, ones_figure
from hashkit.report.curves import difference_figures, radius_figures, rank_figures
from hashkit.report.evaluations import (
    Evaluation,
    differences,
    in_column_order,
    renamed_apart,
)
from hashkit.report.examples import ExampleGroup
from hashkit.report.figures import Figure, Styled
from hashkit.report.numbers import NumberRow, number_rows
from hashkit.report.overview import map_by_bits_figure, map_figure
from hashkit.report.svg import style_class
from hashkit.report.templates import part, render, save_text

__all__ = ["PageContent", "render_page", "save_page"]

_LABELS_IN_VIEW: Final = 25
"""Largest number of labels for which the table by label is not scrolled."""


@dataclasses.dataclass(frozen=True)
class PageContent:
    """The content of a page.

    Attributes
    ----------
    evaluation
        The evaluation that the page is about.
    others
        Evaluations to compare it with, including baselines (`Evaluation.is_baseline`).
    examples
        Queries of `evaluation` with their nearest images.
    """

    evaluation: Evaluation
    others: Sequence[Evaluation] = ()
    examples: Sequence[ExampleGroup] = ()


def save_page(content: PageContent, path: Path) -> None:
    """Write a page atomically.

    Raises
    ------
    HashkitError
        If the file cannot be written.
    """
    save_text(path, render_page(content))


def render_page(content: PageContent) -> str:
    """HTML of a page."""
    evaluation, *others = renamed_apart([content.evaluation, *content.others])
    # Styles follow this order: the page's own evaluation has the first style in every figure.
    ordered = in_column_order([evaluation, *others])
    styled = list(enumerate(ordered))
    values = {
        "script": part("page.js"),
        "evaluation": evaluation,
        "columns": [(one, swatch(style)) for style, one in styled],
        "warnings": ["; ".join(lines) for one in others if (lines := differences(evaluation, one))],
        "groups": _groups(number_rows([one.fields for one in ordered])),
        "labels": _label_rows(evaluation, styled),
        "labels_in_view": _LABELS_IN_VIEW,
        "has_label_queries": bool(evaluation.fields.get("per_label_queries")),
        "has_label_intervals": any(one.fields.get("per_label_interval") for one in ordered),
        "map_figure": map_figure(_curves(styled)),
        "sections": _sections(styled),
        "code_figures": _code_figures(ordered),
        "examples": content.examples,
        "images_note": _images_note(content.examples),
        "n_without_relevant": evaluation.fields.get("n_without_relevant", 0),
    }
    return render("page.html", values)


def _curves(styled: Styled) -> Styled:
    """Evaluations for the figures of curves: baselines lie far off, and would hide differences."""
    without_baselines = [pair for pair in styled if not pair[1].is_baseline]
    return without_baselines if len(without_baselines) > 1 else styled


def _sections(styled: Styled) -> list[tuple[str, list[Figure]]]:
    """Figures below their headings."""
    drawn = _curves(styled)
    by_bits = map_by_bits_figure(drawn)
    sections = [
        (
            "Curves",
            [
                *([by_bits] if by_bits is not None else []),
                *rank_figures(drawn),
                *difference_figures(drawn),
                *radius_figures(drawn),
            ],
        )
    ]
    if len(drawn) < len(styled):
        beside = [styled[0], *(pair for pair in styled if pair[1].is_baseline)]
        sections.append(("Beside baselines", [map_figure(beside), *rank_figures(beside)]))
    return sections


def _code_figures(ordered: Sequence[Evaluation]) -> list[Figure]:
    found = [
        ones_figure(ordered[0]),
        *(distance_figure(one) for one in ordered if not one.is_baseline),
    ]
    return [figure for figure in found if figure is not None]


def _groups(rows: Sequence[NumberRow]) -> list[tuple[str, list[NumberRow]]]:
    groups: dict[str, list[NumberRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.items())


@dataclasses.dataclass(frozen=True)
class _LabelCell:
    """MAP of one label in one evaluation, its interval if known, and the CSS class of its bar."""

    value: float
    interval: tuple[float, float] | None
    css: str


@dataclasses.dataclass(frozen=True)
class _LabelRow:
    """A label, its number of queries (None if unknown), and a cell per column, None if missing."""

    name: str
    n_queries: int | None
    cells: tuple[_LabelCell | None, ...]


def _label_rows(evaluation: Evaluation, styled: Styled) -> list[_LabelRow]:
    """Labels of all evaluations, ordered by mAP in the page's own evaluation."""
    values = evaluation.fields["per_label"]
    names = dict.fromkeys(sorted(values, key=lambda name: -values[name]))
    names |= dict.fromkeys(name for _, one in styled for name in one.fields["per_label"])
    n_queries = evaluation.fields.get("per_label_queries") or {}
    return [
        _LabelRow(
            name,
            n_queries.get(name),
            tuple(_label_cell(one, name, style_class(style)) for style, one in styled),
        )
        for name in names
    ]


def _label_cell(evaluation: Evaluation, label: str, css: str) -> _LabelCell | None:
    value = evaluation.fields["per_label"].get(label)
    if value is None:
        return None
    ends = (evaluation.fields.get("per_label_interval") or {}).get(label)
    return _LabelCell(value, (ends[0], ends[1]) if ends else None, css)


def _images_note(groups: Sequence[ExampleGroup]) -> str:
    """Note on images that were not found."""
    pictures = [
        picture
        for group in groups
        for example in group.examples
        for picture in (example.query, *example.nearest)
    ]
    n_missing = sum(picture.data is None for picture in pictures)
    if not n_missing:
        return ""
    if n_missing == len(pictures):
        return "The images were not found when the page was made; their names are shown."
    return (
        f"{n_missing} of {len(pictures)} images were not found when the page was made; "
        "their names are shown."
    )
