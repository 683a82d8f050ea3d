"""Labels of database rows, read in blocks, in the form that the compiled passes compare.

The labels of all rows are never in memory at once: they may be memory-mapped from a file, and a
label matrix of thousands of classes may exceed the memory.
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
    "RowChoice",
    "SingleLabels",
    "as_ids",
    "packed",
    "renumbered",
]

Labels: TypeAlias = NDArray[Any]

RowChoice: TypeAlias = slice | NDArray[np.int64]
"""Consecutive rows, or row numbers in any order."""

LARGEST_ID: Final = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class LabelBlock:
    """Labels in the form that the compiled passes compare; one of the two arrays is empty.

    Attributes
    ----------
    ids
        int32 [m], one label per row, negative if the row has none; or [0].
    words
        Sets of labels, one bit per label: uint64 [m, w] for queries, [w, m] for database rows;
        w is 0 where ``ids`` are used.
    """

    ids: NDArray[np.int32]
    words: NDArray[np.uint64]


@dataclasses.dataclass(frozen=True)
class SingleLabels:
    """Labels of a database with one label per row.

    Attributes
    ----------
    labels
        Integer [n], negative if the row has none.
    numbers
        Common label number of each of the database's own numbers; None if they are the same.
    known
        Labels of the queries, ascending; if given, a label becomes its position in this array.
    """

    labels: Labels
    numbers: NDArray[np.int64] | None
    known: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, row: int) -> int:
        """Common number of a row's label; -1 if it has none."""
        return int(renumbered(self.labels[row : row + 1], self.numbers)[0])

    def rows(self, which: RowChoice) -> LabelBlock:
        """Labels of some rows."""
        block = self.labels[which]
        if block.dtype == np.int32 and self.numbers is None and self.known is None:
            ids = block.copy()  # kernels need an aligned, writable array
        else:
            ids = as_ids(renumbered(block, self.numbers), self.known)
        return LabelBlock(ids, np.empty((0, len(ids)), np.uint64))


@dataclasses.dataclass(frozen=True)
class LabelSets:
    """Labels of a database with any number of labels per row.

    Attributes
    ----------
    labels
        0/1 [n, n_own_classes]; or integer [n], negative if the row has none.
    numbers
        Common label number of each of the database's own numbers; None if they are the same.
    used
        Common numbers of the labels that are compared, ascending.
    n_classes
        Number of common label numbers.
    """

    labels: Labels
    numbers: NDArray[np.int64] | None
    used: NDArray[np.int64]
    n_classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def label(self, row: int) -> NDArray[np.bool_]:
        """Labels of a row, used or not: bool [n_classes]."""
        whole = dataclasses.replace(self, used=np.arange(self.n_classes))
        labels: NDArray[np.bool_] = whole.matrix(slice(row, row + 1))[0]
        return labels

    def rows(self, which: RowChoice) -> LabelBlock:
        """Used labels of some rows."""
        words = np.ascontiguousarray(packed(self.matrix(which)).T)
        return LabelBlock(np.empty(0, np.int32), words)

    def matrix(self, which: RowChoice) -> NDArray[np.bool_]:
        """Used labels of some rows: bool [m, n_used]."""
        block = self.labels[which]
        result = np.zeros((len(block), len(self.used)), dtype=np.bool_)
        if block.ndim == 1:
            common = renumbered(block, self.numbers)
            column = np.minimum(np.searchsorted(self.used, common), len(self.used) - 1)
            rows = np.flatnonzero(self.used[column] == common)
            result[rows, column[rows]] = True
            return result
        check_labels(block, len(block))
        own_numbers = (
            np.arange(block.shape[1]) if self.numbers is None else self.numbers[: block.shape[1]]
        )
        _, columns, own_columns = np.intersect1d(
            self.used, own_numbers, assume_unique=True, return_indices=True
        )
        result[:, columns] = block[:, own_columns]
        return result


@dataclasses.dataclass(frozen=True)
class DatabaseLabels:
    """Labels of database rows under the common numbering, read on access.

    Attributes
    ----------
    parts
        Labels of each database, in order.
    """

    parts: tuple[SingleLabels, ...] | tuple[LabelSets, ...]

    def __getitem__(self, row: int) -> int | NDArray[np.bool_]:
        """Label of a row, negative if it has none; or its labels, bool [n_classes]."""
        for part in self.parts:
            if row < len(part):
                return part.label(row)
            row -= len(part)
        raise IndexError("row index out of range")


def renumbered(labels: Labels, numbers: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Single labels under the common numbering, -1 for rows without a label."""
    labels = np.maximum(labels.astype(np.int64), -1)
    # A label of -1 picks the last number, the -1 that is appended.
    return labels if numbers is None else np.append(numbers, -1)[labels]


def as_ids(labels: NDArray[np.int64], known: NDArray[np.int64] | None) -> NDArray[np.int32]:
    """Labels as int32 that compare as before: unchanged, or as positions in ``known``."""
    if known is None:
        return np.minimum(labels, LARGEST_ID).astype(np.int32)
    places = np.minimum(np.searchsorted(known, labels), len(known) - 1)
    return np.where(known[places] == labels, places, -1).astype(np.int32)


def packed(matrix: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Rows of a bool matrix [m, n] as words, uint64 [m, ceil(n / 64)]."""
    return code_words(np.packbits(matrix, axis=1))
