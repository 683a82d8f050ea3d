"""Leaves each query's own row out of its ranking, for a collection evaluated against itself.

The own row is at distance 0. It is subtracted from the histograms, from which all other numbers
follow, and skipped where ranks are counted row by row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, kept_rows
from hashkit.errors import EvaluationError
from hashkit.evaluation.database_marks import DatabaseMark
from hashkit.evaluation.label_blocks import LabelBlock

__all__ = ["OwnOfSegment", "OwnRows", "find_own_rows", "match_own_rows"]


@dataclasses.dataclass(frozen=True)
class OwnRows:
    """The database row that is the query itself, for each query.

    Attributes
    ----------
    database
        Index of the database that has these rows.
    rows
        int64 [q], ascending row numbers in that database.
    first_query
        The first of these queries; those of a bank set are rows of several databases.
    """

    database: int
    rows: NDArray[np.int64]
    first_query: int = 0

    def of_segment(
        self, database: int, first: int, last: int, *, live: NDArray[np.bool_] | None
    ) -> OwnOfSegment:
        """Own rows among the rows ``first`` to ``last`` (exclusive) of a database.

        Parameters
        ----------
        live
            bool [last - first], the rows that the segment keeps; None for all.
        """
        if database != self.database:
            return OwnOfSegment.none()
        start, stop = np.searchsorted(self.rows, [first, last]).tolist()
        places = self.rows[start:stop] - first
        if live is not None:
            places = (np.cumsum(live) - 1)[places]
        return OwnOfSegment(self.first_query + start, places, np.zeros(len(places), np.int64))


@dataclasses.dataclass(frozen=True)
class OwnOfSegment:
    """Own rows of consecutive queries in a segment of database rows.

    Attributes
    ----------
    first_query
        The first of these queries.
    places
        int64 [m], the row of each in the segment.
    grades
        int64 [m], the labels that each query shares with its row.
    """

    first_query: int
    places: NDArray[np.int64]
    grades: NDArray[np.int64]

    @classmethod
    def none(cls) -> Self:
        """No own rows."""
        return cls(0, np.empty(0, np.int64), np.empty(0, np.int64))

    def graded(self, rows: LabelBlock, queries: LabelBlock) -> Self:
        """The same with `grades`, from the labels of the segment's rows and of all queries."""
        own = slice(self.first_query, self.first_query + len(self.places))
        if len(queries.ids):
            grades = (rows.ids[self.places] == queries.ids[own]).astype(np.int64)
        else:
            shared = rows.words[:, self.places].T & queries.words[own]
            grades = np.bitwise_count(shared).sum(axis=1, dtype=np.int64)
        return dataclasses.replace(self, grades=grades)

    def skipped(self, queries: slice) -> NDArray[np.int64]:
        """The own row of each query of the slice, int64 [q]; -1 where it is elsewhere."""
        rows = np.full(queries.stop - queries.start, -1, np.int64)
        numbers, own = self._within(queries)
        rows[numbers] = self.places[own]
        return rows

    def subtract(self, queries: slice, histograms: NDArray[np.int64]) -> None:
        """Subtract the own rows from the slice's histograms, int64 [q, n_grades, n_bits + 1]."""
        numbers, own = self._within(queries)
        histograms[numbers, self.grades[own], 0] -= 1

    def _within(self, queries: slice) -> tuple[NDArray[np.int64], slice]:
        """Positions in the slice of the queries that have a row here, and the entries of these."""
        start = max(queries.start, self.first_query)
        stop = max(start, min(queries.stop, self.first_query + len(self.places)))
        own = slice(start - self.first_query, stop - self.first_query)
        return np.arange(start - queries.start, stop - queries.start), own


def find_own_rows(query: CodeDatabase, databases: Sequence[CodeDatabase]) -> OwnRows:
    """The database row of each query that is not deleted, where a database is the query's bank.

    Two banks are the same if they are one object, have one identity, or are one file.

    Raises
    ------
    EvaluationError
        If the query's bank is not exactly one of the databases, or has changed between the two
        times that it was opened.
    """
    (own,) = match_own_rows([query], list(map(DatabaseMark.of, databases)))
    return own


def match_own_rows(
    queries: Sequence[CodeDatabase], databases: Sequence[DatabaseMark]
) -> list[OwnRows]:
    """Like `find_own_rows`, for several databases of queries, from marks of the databases."""
    first_query = 0
    found = []
    for query in queries:
        database = _place_of(DatabaseMark.of(query), databases)
        found.append(OwnRows(database, kept_rows(query), first_query))
        first_query += len(found[-1].rows)
    return found


def _place_of(query: DatabaseMark, databases: Sequence[DatabaseMark]) -> int:
    same = [place for place, database in enumerate(databases) if query.is_same(database)]
    if len(same) != 1:
        found = ", ".join(database.shown for database in databases)
        times = "is not among them" if not same else f"is {len(same)} of them"
        raise EvaluationError(
            "`exclude_self=True` expects one bank both as queries and as database: "
            f"{query.shown} {times}, found {found}; give the same bank for both"
        )
    other = databases[same[0]]
    if not query.has_same_rows(other):
        raise EvaluationError(
            "`exclude_self=True` expects the same rows in queries and database, found "
            f"{query.shown} and {other.shown}, one of which has changed: open the bank again, or "
            "give the same file for both"
        )
    return same[0]
