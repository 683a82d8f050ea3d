"""Match the labels of queries and databases: a row is relevant if it shares a label.

If all sets name their classes, labels are matched by name, so that class order and missing classes
do not matter. If none does, they are matched by number. Names in one set and numbers in another are
matched if the names are these numbers. A row with a negative label, or a multi-hot
row of zeros, has no label and is relevant to no query.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, check_labels
from hashkit.errors import EvaluationError
from hashkit.evaluation.label_blocks import (
    LARGEST_ID,
    DatabaseLabels,
    LabelBlock,
    LabelSets,
    SingleLabels,
    as_ids,
    packed,
    renumbered,
)
from hashkit.inputs.arguments import argument_shown
from hashkit.inputs.label_values import as_label_array
from hashkit.inputs.numbers import whole_number

__all__ = ["MatchedLabels", "match_labels"]

Labels: TypeAlias = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class MatchedLabels:
    """Labels of queries and of databases under one numbering; made by `match_labels`.

    Attributes
    ----------
    query
        int64 [q]; or bool [q, n_classes]. Every query has a label.
    database
        Indexed by row: an int, negative if the row has no label; or bool [n_classes].
    class_names
        Names by label number; a label beyond them is named by its number.
    query_block
        Labels of all queries, in the form that the compiled passes take.
    n_grades
        One more than the largest number of labels that a row can share with a query.
    row_cells
        Label cells of the widest database row: the memory needed to read the labels of one row.
    """

    query: Labels
    database: DatabaseLabels
    class_names: tuple[str, ...]
    query_block: LabelBlock
    n_grades: int
    row_cells: int

    def rows(self, database: int, first: int, last: int) -> LabelBlock:
        """Labels of rows ``first`` to ``last`` (exclusive) of a database, given by its index.

        Raises
        ------
        CodesError
            If these rows of a label matrix contain values other than 0 and 1.
        """
        return self.database.parts[database].rows(slice(first, last))

    def is_relevant(
        self, query: int, which: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether rows are relevant to a query, bool [m].

        Parameters
        ----------
        which, rows
            int64 [m], the database of each row by its index, and the row's number there.
        """
        relevant = np.zeros(len(rows), np.bool_)
        for database in np.unique(which).tolist():
            own = which == database
            block = self.database.parts[database].rows(rows[own])
            if len(self.query_block.ids):
                relevant[own] = block.ids == self.query_block.ids[query]
            else:
                relevant[own] = (block.words.T & self.query_block.words[query]).any(axis=1)
        return relevant

    def query_groups(self) -> dict[str, NDArray[np.int64]]:
        """Rows (int64) of the queries with each label, keyed by its name, in label order."""
        labels = self.query
        if labels.ndim == 2:
            present = np.flatnonzero(labels.any(axis=0))
            return {self._name(int(c)): np.flatnonzero(labels[:, c]) for c in present}
        order = np.argsort(labels, kind="stable")
        present, starts = np.unique(labels[order], return_index=True)
        groups = np.split(order, starts[1:])
        return {self._name(int(c)): rows for c, rows in zip(present, groups, strict=True)}

    def _name(self, label: int) -> str:
        return self.class_names[label] if label < len(self.class_names) else str(label)


def match_labels(query: CodeDatabase, databases: Sequence[CodeDatabase]) -> MatchedLabels:
    """Give the labels of queries and databases common numbers.

    Parameters
    ----------
    query
        The queries; each must have a label.
    databases
        One or more databases; their rows are concatenated.

    Raises
    ------
    EvaluationError
        If a set has no labels, a query has none, or the labels cannot be matched.
    """
    sets = [query, *databases]
    labels = [_labels_of(one, "the queries" if one is query else "the database") for one in sets]
    check_labels(labels[0], len(query))
    n_unlabelled = int(np.count_nonzero(_is_unlabelled(labels[0])))
    if n_unlabelled:
        raise EvaluationError(
            f"every query needs a label, but {n_unlabelled} of {len(labels[0])} have none: "
            "remove them from the queries"
        )
    names, numbers = _numbering(sets, labels)
    if all(one.ndim == 1 for one in labels):
        return _match_single(labels, numbers, names)
    return _match_sets(labels, numbers, names)


def _labels_of(one: CodeDatabase, what: str) -> Labels:
    if one.labels is None:
        raise EvaluationError(
            f"expected labels for {what}, found none: relevance is defined by shared labels; for a "
            'folder with a subfolder per class, encode with `labels="folders"`'
        )
    # The values of a database's label matrix are checked when they are read, in blocks.
    labels = as_label_array(one.labels)
    if len(labels) != len(one):
        raise EvaluationError(f"expected a label for each of {len(one)} rows, found {len(labels)}")
    return labels


def _is_unlabelled(labels: Labels) -> NDArray[np.bool_]:
    return np.less(labels, 0) if labels.ndim == 1 else ~np.any(labels, axis=1)


def _numbering(
    sets: Sequence[CodeDatabase], labels: Sequence[Labels]
) -> tuple[tuple[str, ...], list[NDArray[np.int64] | None]]:
    """Names by common label number, and for each set the common numbers of its own numbers.

    The numbers of a set are None if they are the common numbers.
    """
    named = [bool(len(one.class_names)) for one in sets]
    if not all(named):
        _check_widths(labels)
        return (), [
            _values_of_names(one, which.class_names, labels) if is_named else None
            for one, which, is_named in zip(labels, sets, named, strict=True)
        ]
    names = tuple(dict.fromkeys(name for one in sets for name in one.class_names))
    position = {name: number for number, name in enumerate(names)}
    numbers: list[NDArray[np.int64] | None] = []
    for one, which in zip(labels, sets, strict=True):
        own_names = list(which.class_names)
        _check_names(one, own_names)
        own = np.array([position[name] for name in own_names], dtype=np.int64)
        numbers.append(None if np.array_equal(own, np.arange(len(own))) else own)
    return names, numbers


def _values_of_names(
    own: Labels, class_names: Sequence[str], labels: Sequence[Labels]
) -> NDArray[np.int64] | None:
    """Numbers that the class names of a set are, for sets without names; None if they are 0, 1, ...

    The position of a name is no number of its class: text files have none but alphabetical order.
    """
    names = list(class_names)
    _check_names(own, names)
    values = [whole_number(name) for name in names]
    if values == list(range(len(names))):
        return None
    has_matrix = any(one.ndim == 2 for one in labels)
    if has_matrix or len(set(values)) < len(values) or not all(_is_class(one) for one in values):
        others = [name for name, value in zip(names, values, strict=True) if value is None]
        raise EvaluationError(
            "expected class names in all sets or in none, found names such as "
            f"{argument_shown((others or names)[0])} in one and numbers in another, which cannot "
            "be matched: name the classes in both, or give the labels as numbers in both"
        )
    return np.array(values, dtype=np.int64)


def _is_class(value: int | None) -> bool:
    return value is not None and value >= 0


def _check_names(labels: Labels, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EvaluationError(f"class names must be unique, but {twice!r} names two classes")
    n_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    if n_classes > len(names):
        raise EvaluationError(
            f"expected a name for each of {n_classes} classes, found {len(names)} names"
        )


def _check_widths(labels: Sequence[Labels]) -> None:
    """Raise unless label matrices that are matched by number have the same width."""
    widths = sorted({one.shape[1] for one in labels if one.ndim == 2})
    if len(widths) > 1:
        raise EvaluationError(
            f"label matrices have {' and '.join(map(str, widths))} columns: without class names, "
            "all sets need the same number of columns"
        )
    largest = max((int(one.max(initial=-1)) for one in labels if one.ndim == 1), default=-1)
    if widths and largest >= widths[0]:
        raise EvaluationError(
            f"label {largest} is beyond the {widths[0]} columns of the other set's label matrix"
        )


def _match_single(
    labels: Sequence[Labels], numbers: Sequence[NDArray[np.int64] | None], names: tuple[str, ...]
) -> MatchedLabels:
    query = renumbered(labels[0], numbers[0])
    # Numbers beyond 32 bits are rare. They become positions among the queries' labels.
    known = np.unique(query) if query.max(initial=-1) >= LARGEST_ID else None
    databases = tuple(
        SingleLabels(one, own, known) for one, own in zip(labels[1:], numbers[1:], strict=True)
    )
    block = LabelBlock(as_ids(query, known), np.empty((len(query), 0), np.uint64))
    return MatchedLabels(query, DatabaseLabels(databases), names, block, n_grades=2, row_cells=1)


def _match_sets(
    labels: Sequence[Labels], numbers: Sequence[NDArray[np.int64] | None], names: tuple[str, ...]
) -> MatchedLabels:
    n_classes = max(len(names), *(one.shape[1] for one in labels if one.ndim == 2))
    query = LabelSets(labels[0], numbers[0], np.arange(n_classes), n_classes).matrix(slice(None))
    # Classes that no query has make no row relevant, so their columns are not packed.
    used = np.flatnonzero(query.any(axis=0))
    databases = tuple(
        LabelSets(one, own, used, n_classes)
        for one, own in zip(labels[1:], numbers[1:], strict=True)
    )
    return MatchedLabels(
        query,
        DatabaseLabels(databases),
        names,
        LabelBlock(np.empty(0, np.int32), packed(query[:, used])),
        n_grades=int(query.sum(axis=1).max(initial=0)) + 1,
        row_cells=max(one.shape[1] if one.ndim == 2 else len(used) for one in labels[1:]),
    )
