"""The charts of the results page: self-contained SVG files with light and dark colours."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Final
from xml.etree import ElementTree as ET

from hashkit.report.charts import Series, line_chart
from hashkit.report.figures import share_text
from hashkit.report.scales import Axis, share_axis
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

__all__ = ["Bar", "alternative_text", "bar_plot", "line_plot"]

_BAR_HEIGHT: Final = 24
_NAMES_WIDTH: Final = 150
_VALUES_WIDTH: Final = 64
_AXIS_HEIGHT: Final = 46
_LEGEND_HEIGHT: Final = 20
_LEGEND_LETTERS: Final = 58
"""Longer lines would exceed the picture."""
_FRAME: Final = 10
_SHOWN_WIDTH: Final = 720


@dataclasses.dataclass(frozen=True)
class Bar:
    """A named value with an optional confidence interval."""

    name: str
    value: float
    interval: tuple[float, float] | None = None


def line_plot(
    title: str, description: str, series: Sequence[Series], x_axis: Axis, y_axis: Axis
) -> str:
    """SVG file with series between two axes and a legend below."""
    svg = ET.fromstring(line_chart(title, description, series, x_axis, y_axis))  # noqa: S314 - ours
    for group in svg.iter("g"):
        for name in ("data-name", "data-points"):  # for the script of the report page
            group.attrib.pop(name, None)
    n_rows, chart_height = 0, _height(svg)
    for one in series:
        y = chart_height + (n_rows + 0.7) * _LEGEND_HEIGHT
        sample = ET.SubElement(svg, "g", {"class": f"series {style_class(one.style)}"})
        add_line(sample, "line", 68, y, 102, y)
        add_marker(sample, one.style, 85, y)
        lines = textwrap.wrap(one.name, _LEGEND_LETTERS)
        for row, line in enumerate(lines):
            add_text(svg, "name", 112, y + row * _LEGEND_HEIGHT + 4, line, "start")
        n_rows += len(lines)
    return _standalone(svg, title, description, chart_height + (n_rows + 0.4) * _LEGEND_HEIGHT)


def bar_plot(title: str, description: str, bars: Sequence[Bar], label: str) -> str:
    """SVG file with horizontal bars from 0, whiskers for intervals, and values."""
    height = len(bars) * _BAR_HEIGHT
    svg = new_chart(title, description, height + _AXIS_HEIGHT)
    axis = share_axis(label, max((one.interval or (0, one.value))[1] for one in bars))

    def across(value: float) -> float:
        return _NAMES_WIDTH + axis.place(value) * (WIDTH - _NAMES_WIDTH - _VALUES_WIDTH)

    for tick in axis.ticks:
        add_line(svg, "grid", across(tick), 0, across(tick), height)
        add_text(svg, "tick", across(tick), height + 17, axis.tick_text(tick), "middle")
    add_text(svg, "axis", across(axis.high / 2), height + 38, axis.label, "middle")
    for row, one in enumerate(bars):
        middle = (row + 0.5) * _BAR_HEIGHT
        group = ET.SubElement(svg, "g", {"class": f"series {style_class(0)}"})
        shape = {
            "x": to_length(across(0)),
            "y": to_length(middle - 8),
            "width": to_length(across(one.value) - across(0)),
            "height": "16",
        }
        ET.SubElement(group, "rect", {"class": "outer", **shape})
        if one.interval is not None:
            low, high = map(across, one.interval)
            add_line(group, "whisker", low, middle, high, middle)
            for end in (low, high):
                add_line(group, "whisker", end, middle - 5, end, middle + 5)
        add_marker(group, 0, across(one.value), middle)
        add_text(svg, "name", _NAMES_WIDTH - 8, middle + 4, one.name, "end")
        add_text(svg, "name", WIDTH, middle + 4, share_text(one.value), "end")
    return _standalone(svg, title, description, height + _AXIS_HEIGHT)


def _height(svg: ET.Element) -> float:
    return float(svg.attrib["viewBox"].split()[3])


def _standalone(svg: ET.Element, title: str, description: str, height: float) -> str:
    """Complete a chart with namespace, size, title, description, colours and background."""
    width = WIDTH + 2 * _FRAME
    height += 2 * _FRAME
    box = {"x": f"-{_FRAME}", "y": f"-{_FRAME}", "width": str(width), "height": to_length(height)}
    svg.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "class": "chart",
        "viewBox": " ".join(box.values()),
        "width": str(_SHOWN_WIDTH),
        "height": to_length(height * _SHOWN_WIDTH / width),
        "role": "img",
        "aria-labelledby": "title description",
    }
    for place, (tag, text) in enumerate(
        (("title", title), ("desc", description), ("style", _style()))
    ):
        element = ET.Element(tag)
        element.text = text
        svg.insert(place, element)
    svg[0].set("id", "title")
    svg[1].set("id", "description")
    svg.insert(3, ET.Element("rect", {"class": "ground", **box}))
    ET.indent(svg, " ")
    return to_text(svg) + "\n"


def _style() -> str:
    """Colours of both schemes and chart styles, from the style sheet of the report page."""
    page = resources.files("hashkit.report").joinpath("page.css").read_text(encoding="utf-8")
    colours, _, rest = page.partition("\n* {")
    rules = [
        line
        for line in rest.splitlines()
        if line.startswith((".chart text", ".chart .", ".series"))
    ]
    fonts = 'font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;'
    return "\n".join(
        ["", colours, *rules, f".chart {{ {fonts} }}", ".ground { fill: var(--paper); }", ""]
    )


def alternative_text(values: Mapping[str, float]) -> str:
    """Names and values as text."""
    return ", ".join(f"{name} {share_text(value)}" for name, value in values.items())
