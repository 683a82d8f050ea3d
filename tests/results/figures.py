"""The figures of the results page, and their alternative texts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from plots import Bar, alternative_text, bar_plot, line_plot
from records import Comparison, Entry, Result
from tables import markdown_table, method_name, published_beside

from hashkit.report.charts import Point, Series
from hashkit.report.numbers import MISSING
from hashkit.report.scales import Axis, chosen_axis, share_axis

__all__ = [
    "Picture",
    "bits_picture",
    "curve_picture",
    "curves_of",
    "method_picture",
    "minutes_axis",
    "slug_of",
    "time_table",
]

_SCORES: Final = tuple(round(0.1 * number, 1) for number in range(1, 10))


@dataclasses.dataclass(frozen=True)
class Picture:
    """An SVG file.

    Attributes
    ----------
    name
        Name of the file.
    alternative
        Alternative text for readers who do not see the figure.
    svg
        Content of the file.
    """

    name: str
    alternative: str
    svg: str

    @property
    def markdown(self) -> str:
        """Markdown that includes the picture."""
        return f"![{self.alternative}](images/{self.name})"


def method_picture(comparison: Comparison, slug: str) -> Picture:
    """Bar chart of the mAP of each loss."""
    bars = [
        Bar(method_name(one.first), one.map, _interval(one.first)) for one in comparison.entries
    ]
    text = alternative_text({bar.name: bar.value for bar in bars})
    svg = bar_plot("Mean average precision by loss", text, bars, "mAP")
    return Picture(f"results-methods-{slug}.svg", f"mAP by loss: {text}", svg)


def _interval(run: Result) -> tuple[float, float] | None:
    ends = run["evaluation"].get("map_interval")
    return None if ends is None else (ends[0], ends[1])


def bits_picture(entries: Sequence[Entry], slug: str) -> Picture | None:
    """MAP over bits of each method and published results; None if no method has two lengths."""
    lines: dict[str, dict[int, float]] = {}
    for one in entries:
        run = one.first
        name = f"{run['recipe']}: {run['network']}, {method_name(run)}, {run.budget}"
        lines.setdefault(name, {})[run["bits"]] = one.map
    measured = {name: line for name, line in lines.items() if len(line) > 1}
    if not measured:
        return None
    published = {f"{one.name} (published)": dict(one.maps) for one in published_beside(run)}
    series = [
        Series(
            name,
            style,
            tuple(Point(bits, value, "") for bits, value in sorted(line.items())),
            "dots",
        )
        for style, (name, line) in enumerate((measured | published).items())
    ]
    points = [point for one in series for point in one.points]
    text = "; ".join(
        f"{name}: {alternative_text({f'{bits} bits': line[bits] for bits in sorted(line)})}"
        for name, line in measured.items()
    )
    svg = line_plot(
        "Mean average precision over bits",
        text,
        series,
        chosen_axis("bits of a code", [point.x for point in points]),
        share_axis("mAP", max(point.y for point in points)),
    )
    return Picture(f"results-bits-{slug}.svg", f"mAP over bits. {text}", svg)


def curves_of(entries: Sequence[Entry]) -> dict[str, Result]:
    """The best training of each recipe, best first, at the largest code length of several recipes.

    The best training has the highest held-out score, so queries select nothing here. All trainings
    have one protocol, the same fraction of held-out images, and at least two validations.
    """
    groups: dict[tuple[int, float | None], dict[str, Result]] = {}
    runs = [run for run in (one.first for one in entries) if len(run.held_out()) > 1]
    for run in sorted(runs, key=lambda run: -max(score for _, score in run.held_out())):
        key = run["bits"], run["changes"].get("holdout")
        groups.setdefault(key, {}).setdefault(run["recipe"], run)
    several = {key: found for key, found in groups.items() if len(found) > 1}
    return several[max(several, key=lambda key: (key[0], len(several[key])))] if several else {}


def curve_picture(curves: Mapping[str, Result], slug: str) -> Picture:
    """Line chart of the held-out score over minutes of training."""
    series = [
        Series(
            f"{recipe}: {run['network']}, {method_name(run)}",
            style,
            tuple(Point(minutes, score, "") for minutes, score in run.held_out()),
        )
        for style, (recipe, run) in enumerate(curves.items())
    ]
    points = [point for one in series for point in one.points]
    text = ", ".join(
        f"{one.name} {one.points[-1].y:.3f} after {one.points[-1].x:.1f} minutes" for one in series
    )
    svg = line_plot(
        "Held-out score over minutes of training",
        text,
        series,
        minutes_axis(max(point.x for point in points)),
        share_axis("held-out mAP", max(point.y for point in points)),
    )
    return Picture(f"results-curves-{slug}.svg", f"Held-out score over minutes: {text}", svg)


def minutes_axis(longest: float) -> Axis:
    """Axis from 0 to the longest training, with four to nine ticks at round minutes."""
    step = 10.0 ** math.floor(math.log10(longest))
    step = next(size for size in (step / 5, step / 2, step, 2 * step) if longest / size < 8)
    ticks = tuple(round(number * step, 10) for number in range(int(longest / step) + 1))
    return Axis("minutes of training", 0.0, longest, ticks)


def time_table(curves: Mapping[str, Result]) -> str:
    """Minutes of training after which validation first reached each score."""
    best = max(score for run in curves.values() for _, score in run.held_out())
    scores = [score for score in _SCORES if score <= best]
    rows = []
    for recipe, run in curves.items():
        reached = [
            next((minutes for minutes, seen in run.held_out() if seen >= score), None)
            for score in scores
        ]
        cells = [MISSING if minutes is None else f"{minutes:.1f}" for minutes in reached]
        rows.append([recipe, *cells])
    return markdown_table(["minutes to a held-out mAP of", *(f"{one:.1f}" for one in scores)], rows)


def slug_of(*parts: object) -> str:
    """File name of lower-case letters, digits and dashes."""
    text = "-".join(str(part) for part in parts if part not in ("", None))
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
