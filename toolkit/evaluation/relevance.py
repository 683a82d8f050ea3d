"""Match the labels of queries and databases: a row is relevant if it shares a label.

If all sets name their classes, labels are matched by name, so that class order and missing classes
do not matter. If none does, they are matched by number. Names in one set and numbers in another are
matched if the names are numbers. A row with a negative label, or a multi-hot
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
from hashkit.evaluation.label_facts import LabelFacts, labels_of
from hashkit.inputs.arguments import argument_shown
from hashkit.inputs.numbers import whole_number

__all__ = ["LabelMatch", "MatchedLabels", "match_facts", "match_labels"]

Labels: TypeAlias = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class LabelMatch:
    """Labels of queries, and the common numbers of those of databases; made by `match_facts`.

    It can be pickled, and needs no labels of databases.

    Attributes
    ----------
    query
        int64 [q]; or bool [q, n_classes]. Every query has a label.
    class_names
        Names by label number; a label beyond them is named by its number.
    query_block
        Labels of all queries, in the form that the compiled passes take.
    n_grades
        One more than the largest number of labels that a row can share with a query.
    row_cells
        Label cells of the widest database row: the memory needed to read the labels of one row.
    numbers
        For each database the common numbers of its own labels; None if they are the same.
    known
        With one label per row: if given, labels become positions among these, int64.
    used
        With label sets: the common numbers of the labels that are compared, int64; otherwise None.
    n_classes
        With label sets: number of common labels.
    """

    query: Labels
    class_names: tuple[str, ...]
    query_block: LabelBlock
    n_grades: int
    row_cells: int
    numbers: tuple[NDArray[np.int64] | None, ...]
    known: NDArray[np.int64] | None
    used: NDArray[np.int64] | None
    n_classes: int

    def of_part(self, first: int, stop: int) -> LabelMatch:
        """The same for the databases ``first`` to ``stop`` (exclusive) alone."""
        return dataclasses.replace(self, numbers=self.numbers[first:stop])

    def with_labels(self, labels: Sequence[Labels]) -> MatchedLabels:
        """The same with the labels of its databases, as `labels_of` gives them."""
        pairs = list(zip(labels, self.numbers, strict=True))
        database = DatabaseLabels(tuple(SingleLabels(*pair, self.known) for pair in pairs))
        if self.used is not None:
            sets = [LabelSets(*pair, self.used, self.n_classes) for pair in pairs]
            database = DatabaseLabels(tuple(sets))
        return MatchedLabels(**vars(self), database=database)

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


@dataclasses.dataclass(frozen=True)
class MatchedLabels(LabelMatch):
    """Labels of queries and of databases under one numbering; made by `match_labels`.

    Attributes
    ----------
    database
        Indexed by row: an int, negative if the row has no label; or bool [n_classes].
    """

    database: DatabaseLabels

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
    labels_of(query, "the queries")
    labels = [labels_of(one, "the database") for one in databases]
    facts = list(map(LabelFacts.of, databases, labels))
    return match_facts(query, facts).with_labels(labels)


def match_facts(query: CodeDatabase, databases: Sequence[LabelFacts]) -> LabelMatch:
    """Like `match_labels`, from facts of the databases' labels."""
    labels = labels_of(query, "the queries")
    check_labels(labels, len(query))
    n_unlabelled = int(np.count_nonzero(_is_unlabelled(labels)))
    if n_unlabelled:
        raise EvaluationError(
            f"every query needs a label, but {n_unlabelled} of {len(labels)} have none: "
            "remove them from the queries"
        )
    sets = [LabelFacts.of(query, labels), *databases]
    names, numbers = _numbering(sets)
    if all(one.width is None for one in sets):
        return _match_single(labels, numbers, names)
    return _match_sets(labels, sets, numbers, names)


def _is_unlabelled(labels: Labels) -> NDArray[np.bool_]:
    return np.less(labels, 0) if labels.ndim == 1 else ~np.any(labels, axis=1)


def _numbering(
    sets: Sequence[LabelFacts],
) -> tuple[tuple[str, ...], list[NDArray[np.int64] | None]]:
    """Names by common label number, and for each set the common numbers of its own numbers.

    The numbers of a set are None if they are the common numbers.
    """
    named = [bool(len(one.class_names)) for one in sets]
    if not all(named):
        _check_widths(sets)
        return (), [
            _values_of_names(one, sets) if is_named else None
            for one, is_named in zip(sets, named, strict=True)
        ]
    names = tuple(dict.fromkeys(name for one in sets for name in one.class_names))
    position = {name: number for number, name in enumerate(names)}
    numbers: list[NDArray[np.int64] | None] = []
    for one in sets:
        _check_names(one)
        own = np.array([position[name] for name in one.class_names], dtype=np.int64)
        numbers.append(None if np.array_equal(own, np.arange(len(own))) else own)
    return names, numbers


def _values_of_names(own: LabelFacts, sets: Sequence[LabelFacts]) -> NDArray[np.int64] | None:
    """Class names of a set as numbers, to match sets without names; None if they are 0, 1, ...

    The position of a name is not its number: names from text files are in alphabetical order.
    """
    names = own.class_names
    _check_names(own)
    values = [whole_number(name) for name in names]
    if values == list(range(len(names))):
        return None
    has_matrix = any(one.width is not None for one in sets)
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


def _check_names(facts: LabelFacts) -> None:
    names = facts.class_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EvaluationError(f"class names must be unique, but {twice!r} names two classes")
    n_classes = facts.largest + 1 if facts.width is None else facts.width
    if n_classes > len(names):
        raise EvaluationError(
            f"expected a name for each of {n_classes} classes, found {len(names)} names"
        )


def _check_widths(sets: Sequence[LabelFacts]) -> None:
    """Raise unless label matrices that are matched by number have the same width."""
    widths = sorted({one.width for one in sets if one.width is not None})
    if len(widths) > 1:
        raise EvaluationError(
            f"label matrices have {' and '.join(map(str, widths))} columns: without class names, "
            "all sets need the same number of columns"
        )
    largest = max(one.largest for one in sets)
    if widths and largest >= widths[0]:
        raise EvaluationError(
            f"label {largest} is beyond the {widths[0]} columns of the other set's label matrix"
        )


def _match_single(
    labels: Labels, numbers: Sequence[NDArray[np.int64] | None], names: tuple[str, ...]
) -> LabelMatch:
    query = renumbered(labels, numbers[0])
    # Numbers beyond 32 bits are rare. They become positions among the queries' labels.
    known = np.unique(query) if query.max(initial=-1) >= LARGEST_ID else None
    return LabelMatch(
        query,
        names,
        LabelBlock(as_ids(query, known), np.empty((len(query), 0), np.uint64)),
        n_grades=2,
        row_cells=1,
        numbers=tuple(numbers[1:]),
        known=known,
        used=None,
        n_classes=0,
    )


def _match_sets(
    labels: Labels,
    sets: Sequence[LabelFacts],
    numbers: Sequence[NDArray[np.int64] | None],
    names: tuple[str, ...],
) -> LabelMatch:
    n_classes = max(len(names), *(one.width for one in sets if one.width is not None))
    query = LabelSets(labels, numbers[0], np.arange(n_classes), n_classes).matrix(slice(None))
    # Classes that no query has make no row relevant, so their columns are not packed.
    used = np.flatnonzero(query.any(axis=0))
    return LabelMatch(
        query,
        names,
        LabelBlock(np.empty(0, np.int32), packed(query[:, used])),
        n_grades=int(query.sum(axis=1).max(initial=0)) + 1,
        row_cells=max(len(used) if one.width is None else one.width for one in sets[1:]),
        numbers=tuple(numbers[1:]),
        known=None,
        used=used,
        n_classes=n_classes,
    )
