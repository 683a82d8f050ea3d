"""The numbers of evaluations as rows of a table; each label includes the convention."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

__all__ = ["CODES", "GRADED", "MISSING", "NumberRow", "number_rows"]

GRADED: Final = "By shared labels"
"""Group of the metrics that depend on the number of shared labels."""

CODES: Final = "Codes"
"""Group of the statistics of the codes."""

MISSING: Final = "—"
"""Placeholder for a number that an evaluation does not have."""

Fields = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class NumberRow:
    """One number of each evaluation.

    Attributes
    ----------
    group
        Heading of the rows that belong together.
    label
        Name of the number, with its convention.
    values
        The number of each evaluation, as printed.
    """

    group: str
    label: str
    values: tuple[str, ...]


def number_rows(evaluations: Sequence[Fields]) -> list[NumberRow]:
    """All scalar numbers of evaluations.

    Parameters
    ----------
    evaluations
        The fields of each, as returned by `hashkit.evaluation.report.Report.to_dict`.
    """
    columns = [
        {(group, label): value for group, label, value in _cells(fields)} for fields in evaluations
    ]
    # Keep the order of the first evaluation; insert rows that only others have near related rows.
    keys: list[tuple[str, str]] = []
    for column in columns:
        last = -1
        for key in column:
            if key in keys:
                last = keys.index(key)
            else:
                last += 1
                keys.insert(last, key)
    return [NumberRow(*key, tuple(column.get(key, MISSING) for column in columns)) for key in keys]


def _cells(fields: Fields) -> Iterator[tuple[str, str, str]]:
    for group, cells in (
        ("Mean average precision", _map_cells(fields)),
        ("At k", _rank_cells(fields)),
        ("Within a radius", _radius_cells(fields)),
        ("Nearest images ordered by logits", _rescored_cells(fields)),
        (GRADED, _graded_cells(fields)),
        (CODES, _code_cells(fields)),
    ):
        for label, value in cells:
            yield group, label, value


def _map_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    yield "mAP (whole ranking, mean over tie orders, all relevant)", _share(fields["map"])
    if fields.get("map_interval"):
        low, high = fields["map_interval"]
        level = (fields.get("interval") or {"level": 0.95})["level"]
        yield f"mAP, {level:.0%} interval (bootstrap over queries)", f"{low:.4f} to {high:.4f}"
    yield "mAP, ties in the best order", _share(fields["map_best"])
    yield "mAP, ties in the worst order", _share(fields["map_worst"])
    yield "mAP, ties in row order", _share(fields["map_index"])
    for cutoff, value in fields["map_at"].items():
        yield f"mAP@{int(cutoff):,} ({fields['convention']})", _share(value)


def _rank_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    for k, value in fields["precision_at"].items():
        yield f"precision@{int(k):,}", _share(value)
    for k, value in fields["recall_at"].items():
        yield f"recall@{int(k):,}", _share(value)


def _graded_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    gain = f" ({fields['ndcg_gain']} gain)" if fields.get("ndcg_gain") else ""
    for k, value in (fields.get("ndcg_at") or {}).items():
        yield f"NDCG@{int(k):,}{gain}", _share(value)


def _radius_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    yield "precision within 2 bits (empty: 0)", _share(fields["precision_radius_2"])
    yield "queries without an image within 2 bits", _share(fields["empty_radius_2"])


def _rescored_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    """Metrics of rankings by distance and row, then the same metrics after rescoring."""
    rescored = fields.get("rescored")
    if not rescored:
        return
    times = f"{rescored['oversample']:,} x k by logits"
    for order, metrics in (("by distance and row", rescored["hamming"]), (times, rescored)):
        for cutoff, value in metrics["map_at"].items():
            yield f"mAP@{int(cutoff):,} ({fields['convention']}), {order}", _share(value)
        for name, label in (("precision_at", "precision"), ("recall_at", "recall")):
            for k, value in metrics[name].items():
                yield f"{label}@{int(k):,}, {order}", _share(value)


def _code_cells(fields: Fields) -> Iterator[tuple[str, str]]:
    yield "bits", str(fields["bits"])
    statistics = fields.get("bit_statistics") or {}
    for field, label, form in (
        ("n_distinct_codes", "distinct codes in the database", ",.0f"),
        ("largest_group", "images with the most frequent code", ",.0f"),
        ("share_duplicated", "share of images with a duplicated code", ".4f"),
        ("mean_entropy", "mean entropy per bit (at most 1)", ".4f"),
        ("n_constant_bits", "constant bits", ",.0f"),
        ("mean_absolute_correlation", "mean absolute correlation of two bits", ".4f"),
        ("max_absolute_correlation", "largest absolute correlation of two bits", ".4f"),
    ):
        if field in statistics:
            yield label, format(statistics[field], form)


def _share(value: float) -> str:
    return f"{value:.4f}"
