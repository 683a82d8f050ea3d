"""Charts of series between two axes: lines, areas, bars and dots, as SVG.

Series also differ in dashes and markers, for readers who cannot distinguish the colours.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias
from xml.etree import ElementTree as ET

from hashkit.report.scales import Axis
from hashkit.report.svg import (
    WIDTH,
    add_line,
    add_marker,
    add_text,
    new_chart,
    style_class,
    to_length,
    to_text,
)

__all__ = ["LineKind", "Point", "Series", "line_chart", "swatch"]

_HEIGHT: Final = 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 68, 14, 12, 50
_MARKED_POINTS: Final = 9

LineKind: TypeAlias = Literal["line", "area", "bars", "dots"]


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of a series: its values, and the text of the read-out."""

    x: float
    y: float
    text: str


@dataclasses.dataclass(frozen=True)
class Series:
    """A named row of points.

    Attributes
    ----------
    name
        Name in the legend.
    style
        Number of its style; taken modulo `N_STYLES`.
    points
        Points in the order in which they are connected.
    kind
        ``line``; ``area``, filled down to 0; ``bars``, a bar of width 1 at each point; ``dots``,
        connected, with a marker at each point.
    """

    name: str
    style: int
    points: tuple[Point, ...]
    kind: LineKind = "line"


def line_chart(
    title: str, description: str, series: Sequence[Series], x_axis: Axis, y_axis: Axis
) -> str:
    """Draw series between two axes.

    Parameters
    ----------
    title, description
        Text for screen readers.
    series
        The series; the first is drawn in front.
    x_axis, y_axis
        The axes; points beyond their ends are drawn on the edge.

    Returns
    -------
    str
        An ``svg`` element.
    """
    plot = _Plot(x_axis, y_axis)
    svg = new_chart(title, description, _HEIGHT)
    plot.draw_axes(svg)
    for one in reversed(series):
        plot.draw_series(svg, one)
    return to_text(svg)


def swatch(style: int, kind: LineKind = "line") -> str:
    """The sample of a series in a legend: an ``svg`` element; ``dots`` gives one dot."""
    attributes = {"class": "swatch", "viewBox": "0 0 34 12", "aria-hidden": "true"}
    svg = ET.Element("svg", attributes)
    group = ET.SubElement(svg, "g", {"class": f"series {style_class(style)}"})
    if kind == "area":
        ET.SubElement(group, "path", {"class": "area", "d": "M1 11V3H33V11z"})
        add_line(group, "line", 1, 3, 33, 3)
        return to_text(svg)
    if kind == "line":
        add_line(group, "line", 1, 6, 33, 6)
    add_marker(group, style, 17, 6)
    return to_text(svg)


class _Plot:
    """Positions of values in a chart."""

    def __init__(self, x_axis: Axis, y_axis: Axis) -> None:
        self._x_axis, self._y_axis = x_axis, y_axis

    def x(self, value: float) -> float:
        return _LEFT + self._x_axis.place(value) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - self._y_axis.place(value) * (_HEIGHT - _TOP - _BOTTOM)

    def draw_axes(self, svg: ET.Element) -> None:
        left, right = self.x(self._x_axis.low), self.x(self._x_axis.high)
        bottom, top = self.y(self._y_axis.low), self.y(self._y_axis.high)
        for tick in self._y_axis.ticks:
            add_line(svg, "grid", left, self.y(tick), right, self.y(tick))
            text = self._y_axis.tick_text(tick)
            add_text(svg, "tick", left - 7, self.y(tick) + 4, text, "end")
        for tick in self._x_axis.ticks:
            add_line(svg, "notch", self.x(tick), bottom, self.x(tick), bottom + 5)
            text = self._x_axis.tick_text(tick)
            add_text(svg, "tick", self.x(tick), bottom + 20, text, "middle")
        add_line(svg, "edge", left, bottom, right, bottom)
        add_text(svg, "axis", (left + right) / 2, _HEIGHT - 8, self._x_axis.label, "middle")
        middle = (bottom + top) / 2
        label = add_text(svg, "axis", 13, middle, self._y_axis.label, "middle")
        label.set("transform", f"rotate(-90 13 {to_length(middle)})")

    def draw_series(self, svg: ET.Element, series: Series) -> None:
        places = [(self.x(point.x), self.y(point.y)) for point in series.points]
        texts = [point.text for point in series.points]
        read_out = [
            [round(x, 1), round(y, 1), text] for (x, y), text in zip(places, texts, strict=True)
        ]
        group = ET.SubElement(
            svg,
            "g",
            {
                "class": f"series {style_class(series.style)}",
                "data-name": series.name,
                "data-points": json.dumps(read_out),
            },
        )
        if not places:
            return
        if series.kind == "bars":
            ET.SubElement(group, "path", {"class": "bars", "d": self._bars(series)})
            return
        path = "M" + "L".join(f"{to_length(x)} {to_length(y)}" for x, y in places)
        if series.kind == "area":
            base = to_length(self.y(self._y_axis.low))
            closed = f"{path}V{base}H{to_length(places[0][0])}z"
            ET.SubElement(group, "path", {"class": "area", "d": closed})
        if series.kind != "dots" or len(places) > 1:
            ET.SubElement(group, "path", {"class": "line", "d": path})
        if series.kind == "area":
            return
        for place in places if series.kind == "dots" else _spread(places):
            add_marker(group, series.style, *place)

    def _bars(self, series: Series) -> str:
        base = self.y(self._y_axis.low)
        half = min(0.5 - 0.5 / (self.x(1) - self.x(0)), 0.4)  # half a unit between, where it fits
        return "".join(
            f"M{to_length(self.x(point.x - half))} {to_length(base)}V{to_length(self.y(point.y))}"
            f"H{to_length(self.x(point.x + half))}V{to_length(base)}z"
            for point in series.points
        )


def _spread(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Some of the points of a line, about evenly spaced, for its markers."""
    lengths = [0.0]
    for (x, y), (next_x, next_y) in itertools.pairwise(places):
        lengths.append(lengths[-1] + max(abs(next_x - x), abs(next_y - y)))
    step = max(lengths[-1] / (_MARKED_POINTS - 1), 1e-9)
    marked, due = [], 0.0
    for place, length in zip(places, lengths, strict=True):
        if length >= due - 1e-9:
            marked.append(place)
            due = length + step
    return marked
