"""Charts of values with confidence intervals along one axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final
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

__all__ = ["Interval", "interval_chart"]

_MARGIN: Final = 30
_BOTTOM: Final = 50
_ROW_HEIGHT: Final = 34
_NAME_HEIGHT: Final = 18
_NAME_LENGTH: Final = 66  # characters that fit across


@dataclasses.dataclass(frozen=True)
class Interval:
    """A value with a confidence interval and a wider range.

    Attributes
    ----------
    name, style
        As in `Series`.
    value
        The value.
    interval
        Its confidence interval; None if it has none.
    outer
        The range drawn behind the interval; None if there is none.
    """

    name: str
    style: int
    value: float
    interval: tuple[float, float] | None
    outer: tuple[float, float] | None


def interval_chart(title: str, description: str, rows: Sequence[Interval], axis: Axis) -> str:
    """Draw values with their intervals along one axis, one row each, with names if several.

    Returns
    -------
    str
        An ``svg`` element.
    """
    name_height = _NAME_HEIGHT if len(rows) > 1 else 0
    height = len(rows) * (_ROW_HEIGHT + name_height) + _BOTTOM
    svg = new_chart(title, description, height)

    def across(value: float) -> float:
        return _MARGIN + axis.place(value) * (WIDTH - 2 * _MARGIN)

    bottom = height - _BOTTOM
    for tick in axis.ticks:
        add_line(svg, "grid", across(tick), 0, across(tick), bottom)
        add_text(svg, "tick", across(tick), bottom + 20, axis.tick_text(tick), "middle")
    add_text(svg, "axis", WIDTH / 2, height - 6, axis.label, "middle")
    for number, row in enumerate(rows):
        top = number * (_ROW_HEIGHT + name_height)
        group = ET.SubElement(svg, "g", {"class": f"series {style_class(row.style)}"})
        if name_height:
            add_text(group, "name", 4, top + _NAME_HEIGHT, _fitted(row.name), "start")
        _draw_interval(group, row, across, top + name_height + _ROW_HEIGHT / 2)
    return to_text(svg)


def _fitted(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def _draw_interval(
    group: ET.Element, row: Interval, across: Callable[[float], float], y: float
) -> None:
    if row.outer is not None:
        low, high = map(across, row.outer)
        shape = {
            "x": to_length(low),
            "y": to_length(y - 7),
            "width": to_length(max(high - low, 1)),
            "height": "14",
        }
        ET.SubElement(group, "rect", {"class": "outer", **shape})
    if row.interval is not None:
        low, high = map(across, row.interval)
        add_line(group, "whisker", low, y, high, y)
        for end in (low, high):
            add_line(group, "whisker", end, y - 5, end, y + 5)
    add_marker(group, row.style, across(row.value), y)
