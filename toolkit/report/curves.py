"""Figures of precision and recall: against each other, by rank and by radius."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from hashkit.report.charts import Point, Series
from hashkit.report.figures import Figure, Styled, Table, chart_figure, share_text
from hashkit.report.numbers import MISSING
from hashkit.report.scales import Axis, bit_axis, difference_axis, fitted_axis, log_axis, share_axis

__all__ = ["difference_figures", "radius_figures", "rank_figures"]

Curve: TypeAlias = Sequence[Mapping[str, float]]


def rank_figures(evaluations: Styled) -> list[Figure]:
    """Precision against recall, and both by rank; evaluations without rank curves are left out."""
    curves = {
        (style, one.name): one.fields["rank_curve"]
        for style, one in evaluations
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
            _fitted("precision", by_recall),
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
                _fitted(f"{measure} at k", series),
                _joined_table("k", curves, "k", (measure,)),
            )
        )
    return figures


def difference_figures(evaluations: Styled) -> list[Figure]:
    """Precision and recall by rank of all others, less those of the first; for close curves."""
    (_, reference), *others = evaluations
    by_k = {point["k"]: point for point in reference.fields.get("rank_curve") or ()}
    curves = {
        (style, one.name): [point for point in one.fields["rank_curve"] if point["k"] in by_k]
        for style, one in others
        if one.fields.get("rank_curve")
    }
    curves = {key: curve for key, curve in curves.items() if len(curve) > 1}
    if not curves:
        return []
    figures = []
    for measure in ("precision", "recall"):
        less = {
            key: [
                {"k": point["k"], measure: point[measure] - by_k[point["k"]][measure]}
                for point in curve
            ]
            for key, curve in curves.items()
        }

        def text(point: Mapping[str, Any], measure: str = measure) -> str:
            return f"k {point['k']:,}: {point[measure]:+.4f}"

        series = [
            _series(name, style, curve, "k", measure, text) for (style, name), curve in less.items()
        ]
        figures.append(
            chart_figure(
                f"{measure.capitalize()} at k: difference from {reference.name}",
                "Above 0 is better.",
                series,
                log_axis("k, first ranks", max(curve[-1]["k"] for curve in curves.values())),
                difference_axis(f"{measure} at k, difference", _values(series)),
                _joined_table("k", less, "k", (measure,), "{:+.4f}"),
            )
        )
    return figures


def _fitted(label: str, series: Sequence[Series]) -> Axis:
    return fitted_axis(label, _values(series))


def _values(series: Sequence[Series]) -> list[float]:
    return [point.y for one in series for point in one.points]


def _precision_recall_by_radius(evaluations: Styled) -> Figure:
    curves = {(style, one.name): one.fields["pr_curve"] for style, one in evaluations}
    series = [
        _series(name, style, curve, "recall", "precision", _radius_text)
        for (style, name), curve in curves.items()
    ]
    return chart_figure(
        "Precision and recall",
        "One point per radius in bits, mean over queries; an empty ball has precision 0.",
        series,
        share_axis("recall"),
        _fitted("precision", series),
        _joined_table("radius", curves, "radius", ("precision", "recall")),
    )


def radius_figures(evaluations: Styled) -> list[Figure]:
    """Precision, recall and the share of empty balls by radius; one figure for one evaluation."""
    curves = {(style, one.name): one.fields["pr_curve"] for style, one in evaluations}
    axis = bit_axis("radius, bits", max(one.fields["bits"] for _, one in evaluations))
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
    figures = []
    for measure, (title, caption) in titles.items():
        series = [
            _series(name, style, curve, "radius", measure, _radius_text)
            for (style, name), curve in curves.items()
        ]
        table = _joined_table("radius", curves, "radius", (measure,))
        y_axis = _fitted(words[measure], series)
        figures.append(chart_figure(title, caption, series, axis, y_axis, table))
    return figures


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
    key_name: str,
    curves: Mapping[tuple[int, str], Curve],
    key: str,
    measures: tuple[str, ...],
    form: str = "{:.4f}",
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
            *(form.format(column[x]) if x in column else MISSING for column in columns),
        )
        for x in keys
    )
    return Table(tuple(head), rows)
