"""Example queries with their nearest images: the best, the median and the worst."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, kept_rows, label_names, label_numbers
from hashkit.evaluation.own_rows import find_own_rows
from hashkit.inputs.numbers import whole_number
from hashkit.preprocess import ImageSource
from hashkit.report.thumbnails import thumbnail_address
from hashkit.retrieval.search import search

__all__ = ["Example", "ExampleGroup", "ImageFinder", "Picture", "choose_queries", "find_examples"]

N_PER_GROUP: Final = 3
N_NEAREST: Final = 10


class ImageFinder(Protocol):
    """Finds the image of a row of codes."""

    def __call__(self, codes: CodeDatabase, row: int, /) -> ImageSource | None:
        """An image source for `hashkit.preprocess.decode`; None if it is not available."""
        ...


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of the page.

    Attributes
    ----------
    name
        Name of the image; empty if there is none.
    labels
        Names of its classes.
    data
        The image as a ``data:`` URL; None if it was not found.
    distance
        Hamming distance to the query in bits; None for the query itself.
    is_relevant
        Whether it is relevant to the query.
    """

    name: str
    labels: tuple[str, ...]
    data: str | None
    distance: int | None = None
    is_relevant: bool = False


@dataclasses.dataclass(frozen=True)
class Example:
    """A query, its average precision, and its nearest images by (distance, row)."""

    query: Picture
    average_precision: float
    nearest: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class ExampleGroup:
    """Examples under one heading."""

    title: str
    examples: tuple[Example, ...]


def choose_queries(
    average_precision: NDArray[np.float64], labels: NDArray[Any], n_wanted: int = N_PER_GROUP
) -> dict[str, list[int]]:
    """Queries with the best, the median and the worst average precision.

    Queries without relevant images (average precision 0) are left out. The queries of a group have
    different labels if possible. No query is in two groups.

    Parameters
    ----------
    average_precision
        float64 [q].
    labels
        Integer [q], or 0/1 [q, n_classes].

    Returns
    -------
    dict
        Rows by group: ``best``, ``median``, ``worst``; ``worst`` begins with the worst query.
    """
    order = np.argsort(-average_precision, kind="stable")
    order = order[average_precision[order] > 0]
    middle = len(order) // 2
    by_middle = order[np.argsort(np.abs(np.arange(len(order)) - middle), kind="stable")]
    taken: set[int] = set()
    groups = {}
    for name, candidates in (("best", order), ("worst", order[::-1]), ("median", by_middle)):
        rows = _of_different_labels(candidates.tolist(), labels, n_wanted, taken)
        taken.update(rows)
        groups[name] = rows
    return {name: groups[name] for name in ("best", "median", "worst")}


def _of_different_labels(
    candidates: Sequence[int], labels: NDArray[Any], n_wanted: int, taken: set[int]
) -> list[int]:
    free = [row for row in candidates if row not in taken]
    chosen: list[int] = []
    seen: set[bytes] = set()
    for row in free:
        label = np.asarray(labels[row]).tobytes()
        if len(chosen) < n_wanted and label not in seen:
            seen.add(label)
            chosen.append(row)
    rest = [row for row in free if row not in chosen]
    return chosen + rest[: n_wanted - len(chosen)]


def find_examples(
    query: CodeDatabase,
    databases: Sequence[CodeDatabase],
    average_precision: NDArray[np.float64],
    find: ImageFinder,
    *,
    exclude_self: bool = False,
) -> list[ExampleGroup]:
    """Queries with their nearest images, in groups by average precision.

    Parameters
    ----------
    query, databases
        The queries and databases that were evaluated.
    average_precision
        float64 [q], of each query that is not deleted.
    find
        Returns the image of a row.
    exclude_self
        Whether the query itself, a row of a database, is not shown among its nearest images.
    """
    labels = _Labels([query, *databases])
    live = kept_rows(query)
    known = np.full(len(query), -1) if query.labels is None else query.labels
    chosen_of = choose_queries(average_precision, known[live])
    groups = {name: live[chosen].tolist() for name, chosen in chosen_of.items()}
    precision_of = dict(zip(live.tolist(), average_precision.tolist(), strict=True))
    rows = [row for chosen in groups.values() for row in chosen]
    if not rows:
        return []
    ranking = search(query.codes[rows], databases, top_k=N_NEAREST + exclude_self)
    which, database_rows = ranking.locate()
    own_database = find_own_rows(query, databases).database if exclude_self else None
    examples = {}
    for number, row in enumerate(rows):
        is_shown = (which[number] != own_database) | (database_rows[number] != row)
        shown = np.flatnonzero(is_shown)[:N_NEAREST]
        nearest = [
            dataclasses.replace(
                _picture(databases[database], own_row, find),
                distance=distance,
                is_relevant=not labels.keys(query, row).isdisjoint(
                    labels.keys(databases[database], own_row)
                ),
            )
            for database, own_row, distance in zip(
                which[number, shown].tolist(),
                database_rows[number, shown].tolist(),
                ranking.distances[number, shown].tolist(),
                strict=True,
            )
        ]
        examples[row] = Example(_picture(query, row, find), precision_of[row], tuple(nearest))
    titles = {"best": "Best", "median": "Median", "worst": "Worst"}
    return [
        ExampleGroup(titles[name], tuple(examples[row] for row in chosen))
        for name, chosen in groups.items()
        if chosen
    ]


class _Labels:
    """Labels of single rows, matched as in evaluation: by name if all sets name their classes.

    Otherwise the names are numbers, or the evaluation would have refused them.
    """

    def __init__(self, sets: Sequence[CodeDatabase]) -> None:
        self._by_name = all(len(one.class_names) for one in sets)

    def keys(self, codes: CodeDatabase, row: int) -> set[str]:
        """Keys of the labels of a row; two rows are relevant to each other if they share one."""
        if self._by_name:
            return set(label_names(codes, row) or ())
        if codes.class_names:
            return {str(whole_number(name)) for name in label_names(codes, row) or ()}
        return set(map(str, label_numbers(codes, row) or ()))


def _picture(codes: CodeDatabase, row: int, find: ImageFinder) -> Picture:
    name = codes.names[row] if len(codes.names) else f"row {row}"
    return Picture(name, label_names(codes, row) or (), thumbnail_address(find(codes, row)))
