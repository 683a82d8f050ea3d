"""Figures of precision and recall: against each other, by rank and by radius."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from hashkit.report.charts import Point, Series
from hashkit.report.evaluations import Evaluation
from hashkit.report.figures import Figure, Table, chart_figure, largest, share_text
from hashkit.report.numbers import MISSING
from hashkit.report.scales import bit_axis, log_axis, share_axis

__all__ = ["radius_figures", "rank_figures"]

Curve: TypeAlias = Sequence[Mapping[str, float]]


def rank_figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Precision against recall, and both by rank; evaluations without rank curves are left out."""
    curves = {
        (style, one.name): one.fields["rank_curve"]
        for style, one in enumerate(evaluations)
        if one.fields.get("rank_curve")
    }
    if not curves:
        return [_precision_recall_by_radius(evaluations)]
    last = max(curve[-1]["k"] for curve in curves.values())
    by_recall = [
        _series(name, style, curve, "recall", "precision", _rank_text)
        for (style, name), curve in curves.items()
    ]
    figures = [
        chart_figure(
            "Precision and recall",
            "One point per number of first ranks k, mean over queries and tie orders.",
            by_recall,
            share_axis("recall"),
            share_axis("precision", largest(by_recall)),
            _joined_table("k", curves, "k", ("precision", "recall")),
        )
    ]
    for measure in ("precision", "recall"):
        series = [
            _series(name, style, curve, "k", measure, _rank_text)
            for (style, name), curve in curves.items()
        ]
        figures.append(
            chart_figure(
                f"{measure.capitalize()} at k",
                f"{measure.capitalize()} of the first k ranks, mean over queries and tie orders.",
                series,
                log_axis("k, first ranks", last),
                share_axis(f"{measure} at k", largest(series)),
                _joined_table("k", curves, "k", (measure,)),
            )
        )
    return figures


def _precision_recall_by_radius(evaluations: Sequence[Evaluation]) -> Figure:
    curves = {(style, one.name): one.fields["pr_curve"] for style, one in enumerate(evaluations)}
    series = [
        _series(name, style, curve, "recall", "precision", _radius_text)
        for (style, name), curve in curves.items()
    ]
    return chart_figure(
        "Precision and recall",
        "One point per radius in bits, mean over queries; an empty ball has precision 0.",
        series,
        share_axis("recall"),
        share_axis("precision"),
        _joined_table("radius", curves, "radius", ("precision", "recall")),
    )


def radius_figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Precision, recall and the share of empty balls by radius; one figure for one evaluation."""
    curves = {(style, one.name): one.fields["pr_curve"] for style, one in enumerate(evaluations)}
    axis = bit_axis("radius, bits", max(one.fields["bits"] for one in evaluations))
    words = {
        "precision": "precision (empty: 0)",
        "recall": "recall",
        "empty": "empty balls",
    }
    if len(curves) == 1:
        ((_, curve),) = curves.items()
        series = [
            _series(name, style, curve, "radius", measure, _radius_text)
            for style, (measure, name) in enumerate(words.items())
        ]
        table = _joined_table("radius", {(0, ""): curve}, "radius", tuple(words))
        return [
            chart_figure(
                "Precision and recall by radius",
                "For all images within the radius, mean over queries; and the share of queries "
                "with an empty ball, whose precision counts as 0.",
                series,
                axis,
                share_axis("share"),
                table,
            )
        ]
    titles = {
        "precision": ("Precision by radius", "An empty ball counts as precision 0."),
        "recall": ("Recall by radius", "Share of the relevant images within the radius."),
        "empty": ("Empty balls", "Share of queries with no image within the radius."),
    }
    return [
        chart_figure(
            title,
            caption,
            [
                _series(name, style, curve, "radius", measure, _radius_text)
                for (style, name), curve in curves.items()
            ],
            axis,
            share_axis(words[measure]),
            _joined_table("radius", curves, "radius", (measure,)),
        )
        for measure, (title, caption) in titles.items()
    ]


def _series(
    name: str,
    style: int,
    curve: Curve,
    x: str,
    y: str,
    text: Callable[[Mapping[str, Any]], str],
) -> Series:
    points = tuple(Point(point[x], point[y], text(point)) for point in curve)
    return Series(name, style, points)


def _rank_text(point: Mapping[str, Any]) -> str:
    return (
        f"k {point['k']:,}: precision {share_text(point['precision'])}, "
        f"recall {share_text(point['recall'])}"
    )


def _radius_text(point: Mapping[str, Any]) -> str:
    return (
        f"radius {point['radius']}: precision {share_text(point['precision'])}, "
        f"recall {share_text(point['recall'])}, empty {share_text(point['empty'])}"
    )


def _joined_table(
    key_name: str, curves: Mapping[tuple[int, str], Curve], key: str, measures: tuple[str, ...]
) -> Table:
    """One row per x of any curve, one column per curve and measure."""
    columns = []
    head = [key_name]
    for (_, name), curve in curves.items():
        for measure in measures:
            columns.append({point[key]: point[measure] for point in curve})
            parts = (name, measure) if len(measures) > 1 else (name or measure,)
            head.append(", ".join(part for part in parts if part))
    keys = sorted({x for column in columns for x in column})
    rows = tuple(
        (
            f"{x:,}",
            *(share_text(column[x]) if x in column else MISSING for column in columns),
        )
        for x in keys
    )
    return Table(tuple(head), rows)
