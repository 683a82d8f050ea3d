"""Figures of the codes themselves: their bits, and the distances between them."""

from __future__ import annotations

from hashkit.report.charts import Point, Series
from hashkit.report.evaluations import Evaluation
from hashkit.report.figures import Figure, Table, chart_figure, share_text
from hashkit.report.scales import bit_axis, share_axis

__all__ = ["distance_figure", "ones_figure"]


def distance_figure(evaluation: Evaluation) -> Figure | None:
    """Distances of relevant and other images; None if the evaluation does not have them."""
    distances = evaluation.fields.get("distances")
    if not distances:
        return None
    series, shares = [], {}
    for style, kind in enumerate(("relevant", "other")):
        counts = distances[kind]
        total = max(sum(counts), 1)
        shares[kind] = [count / total for count in counts]
        points = tuple(
            Point(bits, share, f"{bits} bits: {share:.2%} of {total:,} pairs")
            for bits, share in enumerate(shares[kind])
        )
        series.append(Series(f"{kind} pairs", style, points, "area"))
    rows = tuple(
        (str(bits), f"{relevant:,}", f"{other:,}")
        for bits, (relevant, other) in enumerate(
            zip(distances["relevant"], distances["other"], strict=False)
        )
    )
    largest = max([share for one in shares.values() for share in one], default=1.0)
    return chart_figure(
        f"Distances: {evaluation.name}",
        "Share of (query, database image) pairs at each distance, for relevant and for other "
        "pairs; each curve adds up to 1.",
        series,
        bit_axis("Hamming distance, bits", evaluation.fields["bits"]),
        share_axis("share of pairs", largest),
        Table(("distance", "relevant pairs", "other pairs"), rows),
    )


def ones_figure(evaluation: Evaluation) -> Figure | None:
    """Share of ones of each bit; None if the evaluation does not have it."""
    ones = (evaluation.fields.get("bit_statistics") or {}).get("share_of_ones")
    if not ones:
        return None
    points = tuple(
        Point(bit + 0.5, share, f"bit {bit}: {share:.1%} ones") for bit, share in enumerate(ones)
    )
    return chart_figure(
        "Share of ones by bit",
        "In the database. A bit is most informative if it is 1 for half of the images.",
        [Series("share of ones", 0, points, "bars")],
        bit_axis("bit", len(ones)),
        share_axis("share of ones"),
        Table(("bit", "share of ones"), tuple((str(n), share_text(v)) for n, v in enumerate(ones))),
    )
