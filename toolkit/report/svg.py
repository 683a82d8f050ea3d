"""Elements of SVG drawings; the XML writer escapes text.

A drawing sets no colours or fonts. Its shapes have CSS classes (``s0`` to ``s7`` for the series),
which page.css styles for light and dark mode and for print.
"""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

__all__ = [
    "N_STYLES",
    "WIDTH",
    "add_line",
    "add_marker",
    "add_text",
    "new_chart",
    "style_class",
    "to_length",
    "to_text",
]

WIDTH: Final = 480
"""Width of a chart in its own units; the page scales it."""

N_STYLES: Final = 8
"""Number of styles; series cycle through them."""

_MARKERS: Final = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",  # disc
    "M-3.6 -3.6h7.2v7.2h-7.2z",  # square
    "M0 -4.8L4.6 3.4H-4.6z",  # triangle
    "M0 -5L5 0L0 5L-5 0z",  # diamond
    "M0 4.8L4.6 -3.4H-4.6z",  # triangle downwards
    "M-4 -1.4h2.6v-2.6h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6z",  # plus
    "M-5 -2.2h10v4.4h-10z",  # bar
    "M-2.2 -5h4.4v10h-4.4z",  # pillar
)


def style_class(style: int) -> str:
    """CSS classes of a style; beyond `N_STYLES`, colours repeat with other dashes."""
    return f"s{style % N_STYLES}" + (" again" if style >= N_STYLES else "")


def new_chart(title: str, description: str, height: int) -> ET.Element:
    """An empty chart, with a label for screen readers."""
    label = f"{title}. {description}" if description else title
    attributes = {"class": "chart", "viewBox": f"0 0 {WIDTH} {height}", "role": "img"}
    return ET.Element("svg", {**attributes, "aria-label": label})


def add_line(parent: ET.Element, css: str, x1: float, y1: float, x2: float, y2: float) -> None:
    """Add a line between two points."""
    ends = {"x1": to_length(x1), "y1": to_length(y1), "x2": to_length(x2), "y2": to_length(y2)}
    ET.SubElement(parent, "line", {"class": css, **ends})


def add_text(
    parent: ET.Element, css: str, x: float, y: float, text: str, anchor: str
) -> ET.Element:
    """Add a text; ``anchor`` is the part of it at the point: start, middle or end."""
    place = {"class": css, "x": to_length(x), "y": to_length(y), "text-anchor": anchor}
    element = ET.SubElement(parent, "text", place)
    element.text = text
    return element


def add_marker(parent: ET.Element, style: int, x: float, y: float) -> None:
    """Add the marker of a style; beyond `N_STYLES`, a colour gets a different marker."""
    shape = {"class": "marker", "d": _MARKERS[(style + style // N_STYLES) % N_STYLES]}
    ET.SubElement(
        parent, "path", {**shape, "transform": f"translate({to_length(x)} {to_length(y)})"}
    )


def to_length(value: float) -> str:
    """A length in the units of a chart, rounded to two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def to_text(svg: ET.Element) -> str:
    """The element as markup."""
    return ET.tostring(svg, encoding="unicode")
