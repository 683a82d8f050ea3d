"""Leaves each query's own row out of its ranking, for a collection evaluated against itself.

The own row is at distance 0. It is subtracted from the histograms, from which all other numbers
follow, and skipped where ranks are counted row by row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, kept_rows
from hashkit.errors import EvaluationError
from hashkit.evaluation.label_blocks import LabelBlock

__all__ = ["OwnOfSegment", "OwnRows", "find_own_rows"]


@dataclasses.dataclass(frozen=True)
class OwnRows:
    """The database row that is the query itself, for each query.

    Attributes
    ----------
    database
        Index of the database that has these rows.
    rows
        int64 [q], ascending row numbers in that database.
    """

    database: int
    rows: NDArray[np.int64]

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
        return OwnOfSegment(start, places, np.zeros(len(places), np.int64))


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
        """Take the own rows out of histograms [q, n_grades, n_bits + 1] of the slice's queries."""
        numbers, own = self._within(queries)
        histograms[numbers, self.grades[own], 0] -= 1

    def _within(self, queries: slice) -> tuple[NDArray[np.int64], slice]:
        """Numbers within the slice of its queries that have a row here, and their entries."""
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
    same = [place for place, one in enumerate(databases) if _is_same(query, one)]
    if len(same) != 1:
        found = ", ".join(map(_shown, databases))
        times = "is not among them" if not same else f"is {len(same)} of them"
        raise EvaluationError(
            "`exclude_self=True` expects one bank both as queries and as database: "
            f"{_shown(query)} {times}, found {found}; give the same bank for both"
        )
    other = databases[same[0]]
    if query is not other and not _has_same_rows(query, other):
        raise EvaluationError(
            "`exclude_self=True` expects the same rows in queries and database, found "
            f"{_shown(query)} and {_shown(other)}, one of which has changed: open the bank again, "
            "or give one file for both"
        )
    return OwnRows(same[0], kept_rows(query))


def _is_same(one: CodeDatabase, other: CodeDatabase) -> bool:
    if one is other:
        return True
    identities = [getattr(bank, "identity", "") for bank in (one, other)]
    if all(identities):
        return bool(identities[0] == identities[1])
    own_path, other_path = getattr(one, "path", None), getattr(other, "path", None)
    if not isinstance(own_path, Path) or not isinstance(other_path, Path):
        return False
    try:
        return own_path.samefile(other_path)
    except OSError:  # a file that was moved since
        return False


def _has_same_rows(one: CodeDatabase, other: CodeDatabase) -> bool:
    """Whether two banks, opened at different times, have the same codes and deleted rows."""
    digests = [getattr(bank, "rows_digest", None) for bank in (one, other)]
    if None in digests or len(one) != len(other):
        return False
    own_deleted, other_deleted = (
        np.zeros(len(bank), np.bool_) if bank.deleted is None else bank.deleted
        for bank in (one, other)
    )
    is_same = np.array_equal(own_deleted, other_deleted)
    return is_same and len({digest() for digest in digests if digest is not None}) == 1


def _shown(codes: CodeDatabase) -> str:
    path = getattr(codes, "path", None)
    return f"codes of {len(codes):,} rows" if path is None else f"{path} ({len(codes):,} rows)"
