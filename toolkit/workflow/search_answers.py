"""Answers queries: the nearest rows of each, with or without the query's own row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import check_radius
from hashkit.retrieval.search import Engine, search
from hashkit.workflow.narrowing import open_index, rows_of_labels
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.search_place import SearchPlace
from hashkit.workflow.search_queries import find_own_rows, with_logits
from hashkit.workflow.search_results import Query, Result, hits_of

if TYPE_CHECKING:
    from hashkit.multi_index.index import MultiIndex

__all__ = ["Question", "answers"]


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked of the banks for each query.

    Attributes
    ----------
    top_k, radius
        The nearest rows, or all rows within a distance in bits; one of them is None.
    labels
        Classes to search; empty for all rows.
    rerank, oversample
        Order rows by the query's logits; see `hashkit.search`.
    exclude_self
        Leave out the query's own row.
    engine
        See `hashkit.search`.
    """

    top_k: int | None = 10
    radius: int | None = None
    labels: Sequence[str] = ()
    rerank: bool = False
    oversample: int | None = None
    exclude_self: bool = False
    engine: Engine = "auto"


def answers(
    place: SearchPlace, queries: Sequence[Query], question: Question, reporter: Reporter = SILENT
) -> list[Result]:
    """The hits of each query, nearest first.

    Raises
    ------
    ConfigError
        If no bank has one of the classes, the radius is larger than the codes, or the engine is
        ``index`` and there is no index.
    ImageError
        If rows are to be ordered by logits, and the image of a query is not available.
    """
    if question.radius is not None:
        check_radius(question.radius, place.banks[0].n_bits)
    where = rows_of_labels(place.banks, question.labels) if question.labels else None
    index = None if question.engine == "scan" else open_index(place.banks, reporter)
    logits = None
    if question.rerank:
        queries, logits = with_logits(place, queries, reporter)
    if not question.exclude_self:
        return list(_search(place, queries, question, where, logits, index))
    results: list[Result] = []
    everything = np.ones(place.n_rows, np.bool_) if where is None else where
    for at, own in enumerate(find_own_rows(place, queries)):
        one = slice(at, at + 1)
        some = where
        if own:
            some = everything.copy()
            some[own] = False
        results += _search(
            place, queries[one], question, some, None if logits is None else logits[one], index
        )
    return results


def _search(
    place: SearchPlace,
    queries: Sequence[Query],
    question: Question,
    where: NDArray[np.bool_] | None,
    logits: NDArray[np.float32] | None,
    index: MultiIndex | None,
) -> Iterator[Result]:
    found = search(
        np.stack([query.code for query in queries]),
        place.banks,
        top_k=question.top_k,
        radius=question.radius,
        where=where,
        logits=logits,
        oversample=question.oversample,
        engine=question.engine,
        index=index,
    )
    for query, hits in zip(queries, hits_of(found, place.banks), strict=True):
        yield Result(query, hits)
