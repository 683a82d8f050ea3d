"""The task of one part of a database in an evaluation."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.evaluation.bit_statistics import BitCounts
from hashkit.evaluation.database_marks import DatabaseMark
from hashkit.evaluation.label_facts import LabelFacts
from hashkit.evaluation.own_rows import OwnRows
from hashkit.evaluation.passes import RankStarts, RowsDone
from hashkit.evaluation.relevance import LabelMatch
from hashkit.evaluation.split_queries import SplitQueries

__all__ = ["DatabaseFacts", "EvaluationPart", "EvaluationTask"]


@dataclasses.dataclass(frozen=True)
class DatabaseFacts:
    """What the driver of an evaluation knows of a database.

    Attributes
    ----------
    n_bits
        Number of bits of a code.
    n_rows, n_kept
        Number of rows, and of those that are neither deleted nor queries of the same split.
    labels
        What is known of its labels; None if it has none.
    """

    n_bits: int
    n_rows: int
    n_kept: int
    labels: LabelFacts | None


@dataclasses.dataclass(frozen=True)
class EvaluationTask:
    """What a part counts; it can be pickled.

    Attributes
    ----------
    query_codes, n_bits
        Packed codes of all queries, uint8 [q, ceil(n_bits / 8)].
    labels
        Labels of the queries, and the numbers of the part's own labels.
    own_rows
        Rows of the part that are queries themselves and left out of their rankings; ``database``
        counts the databases of the part.
    drawn
        Queries of a split, whose rows count as deleted.
    key
        Distinguishes tasks.
    """

    query_codes: NDArray[np.uint8]
    n_bits: int
    labels: LabelMatch
    own_rows: tuple[OwnRows, ...] = ()
    drawn: SplitQueries | None = None
    key: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)


class EvaluationPart(Protocol):
    """One or more consecutive databases of those that are evaluated, here or elsewhere.

    Each call carries all that it needs, so calls may come in any order and be repeated elsewhere.
    ``rows_done`` is called in the driver's process; its numbers add up to the part's rows.
    """

    def facts(self, drawn: SplitQueries | None) -> Sequence[DatabaseFacts]:
        """Facts of each database."""
        ...

    def marks(self) -> Sequence[DatabaseMark]:
        """Marks of each database, for `exclude_self`."""
        ...

    def histograms(
        self, task: EvaluationTask, queries: slice, rows_done: RowsDone
    ) -> NDArray[np.int64]:
        """`Passes.histograms` of the part's rows: int64 [q, n_grades, n_bits + 1]."""
        ...

    def precision_sums(
        self, task: EvaluationTask, queries: slice, starts: RankStarts, rows_done: RowsDone
    ) -> NDArray[np.uint64]:
        """`Passes.precision_sums` of the part's rows: uint64 [q, 2]."""
        ...

    def bit_counts(self, drawn: SplitQueries | None, first_row: int, n_rows: int) -> BitCounts:
        """`hashkit.evaluation.bit_statistics.bit_counts` of the part's databases."""
        ...
