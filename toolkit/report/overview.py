"""Figures of mAP: for each evaluation, and over the code length."""

from __future__ import annotations

from collections.abc import Sequence

from hashkit.report.charts import Point, Series
from hashkit.report.evaluations import Evaluation
from hashkit.report.figures import Figure, Styled, Table, chart_figure, share_text
from hashkit.report.intervals import Interval, interval_chart
from hashkit.report.numbers import MISSING
from hashkit.report.scales import chosen_axis, fitted_axis

__all__ = ["map_by_bits_figure", "map_figure"]


def map_figure(evaluations: Styled) -> Figure:
    """MAP of each evaluation, its confidence interval, and its range over tie orders."""
    rows = []
    for style, evaluation in evaluations:
        ends = evaluation.fields.get("map_interval")
        interval = (ends[0], ends[1]) if ends else None
        outer = (evaluation.fields["map_worst"], evaluation.fields["map_best"])
        rows.append(Interval(evaluation.name, style, evaluation.fields["map"], interval, outer))
    drawn = [end for row in rows for pair in (row.interval, row.outer) if pair for end in pair]
    title = "Mean average precision"
    axis = fitted_axis("mAP", [*drawn, *(row.value for row in rows)])
    return Figure(
        title,
        "Mark: mean over tie orders. Whisker: 95% interval, by bootstrap over queries. "
        "Band: from the worst to the best order of ties.",
        interval_chart(title, _listed([(row.name, row.value) for row in rows]), rows, axis),
        (),
        Table(
            ("", "mAP", "interval", "worst to best order of ties"),
            tuple(
                (row.name, share_text(row.value), _pair(row.interval), _pair(row.outer))
                for row in rows
            ),
        ),
    )


def map_by_bits_figure(evaluations: Styled) -> Figure | None:
    """MAP over the code length; None unless evaluations other than baselines differ in bits."""
    if len({one.fields["bits"] for _, one in evaluations if not one.is_baseline}) < 2:
        return None
    series = [
        Series(
            members[0].title if len(members) > 1 else members[0].name,
            style,
            tuple(_bits_point(one) for one in members),
            "dots",
        )
        for style, members in _joined_by_title(evaluations)
    ]
    values = [point for one in series for point in one.points]
    return chart_figure(
        "mAP over bits",
        "Evaluations with the same title are connected.",
        series,
        chosen_axis("bits", [point.x for point in values]),
        fitted_axis("mAP", [point.y for point in values]),
        Table(
            ("", "bits", "mAP"),
            tuple(
                (one.name, str(one.fields["bits"]), share_text(one.fields["map"]))
                for _, one in evaluations
            ),
        ),
    )


def _joined_by_title(evaluations: Styled) -> list[tuple[int, list[Evaluation]]]:
    """Groups of evaluations with one title and different bits, with the style of the first."""
    groups: dict[str, list[tuple[int, Evaluation]]] = {}
    for style, evaluation in evaluations:
        groups.setdefault(evaluation.title or f"name {evaluation.name}", []).append(
            (style, evaluation)
        )
    joined = []
    for members in groups.values():
        if len({evaluation.fields["bits"] for _, evaluation in members}) == len(members):
            in_order = sorted(
                (evaluation for _, evaluation in members),
                key=lambda evaluation: evaluation.fields["bits"],
            )
            joined.append((members[0][0], in_order))
        else:
            joined += [(style, [evaluation]) for style, evaluation in members]
    return joined


def _bits_point(evaluation: Evaluation) -> Point:
    bits, value = evaluation.fields["bits"], evaluation.fields["map"]
    return Point(bits, value, f"{bits} bits: mAP {share_text(value)}")


def _listed(values: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {share_text(value)}" for name, value in values)


def _pair(ends: tuple[float, float] | None) -> str:
    return MISSING if ends is None else f"{share_text(ends[0])} to {share_text(ends[1])}"
