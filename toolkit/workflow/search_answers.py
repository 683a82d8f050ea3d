"""Answers queries: the nearest rows of each, with or without the query's own row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import check_radius
from hashkit.retrieval.arguments import Engine, check_settings
from hashkit.retrieval.search import search
from hashkit.workflow.narrowing import check_classes, has_index, open_index, rows_of_labels
from hashkit.workflow.reporter import SILENT, Reporter
from hashkit.workflow.search_place import SearchPlace
from hashkit.workflow.search_queries import find_own_rows, with_logits
from hashkit.workflow.search_results import Query, Result, hits_of

if TYPE_CHECKING:
    from hashkit.bank.reader import Bank
    from hashkit.retrieval.neighbours import Neighbours, Ranking

__all__ = ["LocalSearcher", "Question", "Searcher", "answers"]


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

    Raises
    ------
    ConfigError
        If the engine is unknown.
    """

    top_k: int | None = 10
    radius: int | None = None
    labels: Sequence[str] = ()
    rerank: bool = False
    oversample: int | None = None
    exclude_self: bool = False
    engine: Engine = "auto"

    def __post_init__(self) -> None:
        check_settings(self.top_k, self.radius, self.engine, has_index=True)

    def check(self, banks: Sequence[Bank]) -> None:
        """Check that these banks can answer, before queries are encoded.

        Raises
        ------
        ConfigError
            If no bank has one of the classes, the radius is larger than the codes, or an index is
            asked for and no bank has one.
        """
        check_classes(banks, self.labels)
        if self.radius is not None:
            check_radius(self.radius, banks[0].n_bits)
        if self.engine == "index":
            check_settings(self.top_k, self.radius, self.engine, has_index=has_index(banks))


class Searcher(Protocol):
    """Searches the banks of a place, here or elsewhere."""

    def __call__(
        self,
        query_codes: NDArray[np.uint8],
        question: Question,
        *,
        left_out: Sequence[int] = (),
        logits: NDArray[np.float32] | None = None,
    ) -> Ranking | Neighbours:
        """The rows that a question asks for, except ``left_out``; see `hashkit.search`."""
        ...


class LocalSearcher:
    """Searches banks in this process.

    Raises
    ------
    ConfigError
        If no bank has one of the classes.
    """

    def __init__(
        self, banks: Sequence[Bank], question: Question, reporter: Reporter = SILENT
    ) -> None:
        self._banks = banks
        self._where = rows_of_labels(banks, question.labels) if question.labels else None
        self._index = None if question.engine == "scan" else open_index(banks, reporter)

    def __call__(
        self,
        query_codes: NDArray[np.uint8],
        question: Question,
        *,
        left_out: Sequence[int] = (),
        logits: NDArray[np.float32] | None = None,
    ) -> Ranking | Neighbours:
        """See `Searcher`."""
        where = self._where
        if left_out:
            n_rows = sum(map(len, self._banks))
            where = np.ones(n_rows, np.bool_) if where is None else where.copy()
            where[list(left_out)] = False
        return search(
            query_codes,
            self._banks,
            top_k=question.top_k,
            radius=question.radius,
            where=where,
            logits=logits,
            oversample=question.oversample,
            engine=question.engine,
            index=self._index,
        )


def answers(
    place: SearchPlace,
    queries: Sequence[Query],
    question: Question,
    reporter: Reporter = SILENT,
    searcher: Searcher | None = None,
) -> list[Result]:
    """The hits of each query, nearest first.

    Parameters
    ----------
    searcher
        Searches the banks of ``place``; None for this process.

    Raises
    ------
    ConfigError
        If no bank has one of the classes, the radius is larger than the codes, or the engine is
        ``index`` and there is no index.
    ImageError
        If rows are to be ordered by logits, and the image of a query is not available.
    """
    searcher = searcher or LocalSearcher(place.banks, question, reporter)
    logits = None
    if question.rerank:
        queries, logits = with_logits(place, queries, reporter)
    codes = np.stack([query.code for query in queries])
    if not question.exclude_self:
        found = searcher(codes, question, logits=logits)
        return list(_results(place, queries, found))
    results: list[Result] = []
    for at, own_rows in enumerate(find_own_rows(place, queries)):
        only_query = slice(at, at + 1)
        own_logits = None if logits is None else logits[only_query]
        found = searcher(codes[only_query], question, left_out=own_rows, logits=own_logits)
        results += _results(place, queries[only_query], found)
    return results


def _results(
    place: SearchPlace, queries: Sequence[Query], found: Ranking | Neighbours
) -> Iterator[Result]:
    for query, hits in zip(queries, hits_of(found, place.banks), strict=True):
        yield Result(query, hits)
