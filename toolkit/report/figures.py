"""A figure: a chart with its title, legend and numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

from hashkit.report.charts import LineKind, Series, line_chart, swatch
from hashkit.report.evaluations import Evaluation
from hashkit.report.scales import Axis

__all__ = ["Figure", "Styled", "Table", "chart_figure", "share_text"]

Styled: TypeAlias = Sequence[tuple[int, Evaluation]]
"""Evaluations with the number of their style, which is the same in all figures of a page."""


@dataclasses.dataclass(frozen=True)
class Table:
    """The numbers of a figure as printed: column names and rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A chart with its texts and its table.

    Attributes
    ----------
    title, caption
        What the chart shows, and how to read it.
    svg
        The chart, an ``svg`` element.
    legend
        (sample, name) of each series, the sample being an ``svg`` element; empty if not needed.
    table
        The numbers.
    """

    title: str
    caption: str
    svg: str
    legend: tuple[tuple[str, str], ...]
    table: Table


def chart_figure(
    title: str, caption: str, series: Sequence[Series], x_axis: Axis, y_axis: Axis, table: Table
) -> Figure:
    """A figure of series between two axes, with a legend if there are several series."""
    description = f"{y_axis.label} over {x_axis.label}: {', '.join(one.name for one in series)}"
    legend = tuple((swatch(one.style, _sample_kind(one)), one.name) for one in series)
    svg = line_chart(title, description, series, x_axis, y_axis)
    return Figure(title, caption, svg, legend if len(series) > 1 else (), table)


def _sample_kind(series: Series) -> LineKind:
    """Kind of the legend's sample: connected dots are shown as a line."""
    return "line" if series.kind == "dots" and len(series.points) > 1 else series.kind


def share_text(value: float) -> str:
    """Format a number between 0 and 1, in all tables in the same way."""
    return f"{value:.4f}"
