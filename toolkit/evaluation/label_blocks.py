"""Labels of database rows, read a block at a time in the form that compiled passes compare.

Nothing is held for all rows: a database's labels may be mapped from a file, and a label matrix of
thousands of classes be larger than the memory.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import code_words
from hashkit.codesets import check_labels

__all__ = [
    "LARGEST_ID",
    "DatabaseLabels",
    "LabelBlock",
    "LabelSets",
    "SingleLabels",
    "as_ids",
    "packed",
    "renumbered",
]

Labels: TypeAlias = NDArray[Any]

LARGEST_ID: Final = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class LabelBlock:
    """Labels in the form that compiled passes compare: one of the two arrays is empty.

    Attributes
    ----------
    ids
        int32 [m], one label a row, negative where there is none; or [0].
    words
        Sets of labels, a bit each: uint64 [m, w] of queries, or of rows, word by word, [w, m];
        w is 0 where ``ids`` are used.
    """

    ids: NDArray[np.int32]
    words: NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class SingleLabels:
    """One label a row of a database.

    Attributes
    ----------
    labels
        Integer [n], negative where there is none.
    numbers
        Common numbers by the database's own; None where they are the same.
    known
        The labels of queries, ascending, whose places take the place of numbers; or None.
    """

    labels: Labels
    numbers: NDArray[np.int64] | None
    known: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, row: int) -> int:
        """Common number of a row's label; -1 if it has none."""
        return int(renumbered(self.labels[row : row + 1], self.numbers)[0])

    def rows(self, first: int, last: int) -> LabelBlock:
        """Labels of rows ``first`` to ``last`` (exclusive)."""
        block = self.labels[first:last]
        if block.dtype == np.int32 and self.numbers is None and self.known is None:
            ids = block.copy()  # as kernels take it: aligned, and not read-only
        else:
            ids = as_ids(renumbered(block, self.numbers), self.known)
        return LabelBlock(ids, np.empty((0, len(ids)), np.uint64))


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """Any number of labels a row of a database.

    Attributes
    ----------
    labels
        0/1 [n, n_own_classes]; or integer [n], negative where there is none.
    numbers
        Common numbers by the database's own; None where they are the same.
    used
        Common numbers of the labels that are compared, ascending.
    n_classes
        Common numbers in all.
    """

    labels: Labels
    numbers: NDArray[np.int64] | None
    used: NDArray[np.int64]
    n_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, row: int) -> NDArray[np.bool_]:
        """Which labels a row has, used or not: bool [n_classes]."""
        whole = dataclasses.replace(self, used=np.arange(self.n_classes))
        labels: NDArray[np.bool_] = whole.matrix(row, row + 1)[0]
        return labels

    def rows(self, first: int, last: int) -> LabelBlock:
        """Used labels of rows ``first`` to ``last`` (exclusive)."""
        words = np.ascontiguousarray(packed(self.matrix(first, last)).T)
        return LabelBlock(np.empty(0, np.int32), words)

    def matrix(self, first: int, last: int) -> NDArray[np.bool_]:
        """Which of the used labels the rows have: bool [last - first, n_used]."""
        block = self.labels[first:last]
        result = np.zeros((len(block), len(self.used)), dtype=np.bool_)
        if block.ndim == 1:
            common = renumbered(block, self.numbers)
            column = np.minimum(np.searchsorted(self.used, common), len(self.used) - 1)
            rows = np.flatnonzero(self.used[column] == common)
            result[rows, column[rows]] = True
            return result
        check_labels(block, len(block))
        own = np.arange(block.shape[1]) if self.numbers is None else self.numbers[: block.shape[1]]
        _, columns, own_columns = np.intersect1d(
            self.used, own, assume_unique=True, return_indices=True
        )
        result[:, columns] = block[:, own_columns]
        return result


@dataclasses.dataclass(frozen=True)
class DatabaseLabels:
    """Labels of database rows under the common numbering, looked up when they are asked for.

    Attributes
    ----------
    parts
        Of each database, in order.
    """

    parts: tuple[SingleLabels, ...] | tuple[LabelSets, ...]

    def __getitem__(self, row: int) -> int | NDArray[np.bool_]:
        """Label of a row, negative if it has none; or which labels it has, bool [n_classes]."""
        for part in self.parts:
            if row < len(part):
                return part.label(row)
            row -= len(part)
        raise IndexError("a row beyond the last")


def renumbered(labels: Labels, numbers: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Single labels under the common numbering, -1 where there is none."""
    labels = np.maximum(labels.astype(np.int64), -1)
    # A label of -1 picks the last number, which is put there for it.
    return labels if numbers is None else np.append(numbers, -1)[labels]


def as_ids(labels: NDArray[np.int64], known: NDArray[np.int64] | None) -> NDArray[np.int32]:
    """Labels as int32, equal to a query's where they were: as they are, or places in ``known``."""
    if known is None:
        return np.minimum(labels, LARGEST_ID).astype(np.int32)
    places = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    return np.where(known[places] == labels, places, -1).astype(np.int32)


def packed(matrix: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Rows of a bool matrix [m, n] as words, uint64 [m, ceil(n / 64)]."""
    return code_words(np.packbits(matrix, axis=1))
