"""Which database rows are relevant to which queries: the same label, or any shared label.

Sets that all name their classes are matched by name, so that the same classes in another order,
or a set that lacks some, compare rightly. Otherwise labels are matched by number. A negative
label, or a multi-hot row of zeros, is an image without labels: relevant to nothing.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase, check_labels
from hashkit.errors import EvaluationError
from hashkit.hamming import RelevantRows, planes

__all__ = ["MatchedLabels", "match_labels"]

logger = logging.getLogger(__name__)

Labels: TypeAlias = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class MatchedLabels:
    """Labels of queries and of a database under one numbering.

    Attributes
    ----------
    query, database
        int64 [q] and [n], negative where there is no label; or bool [q, c] and [n, c].
    class_names
        Names by label number; a label beyond them goes by its number.
    """

    query: Labels
    database: Labels
    class_names: tuple[str, ...]

    def relevant_rows(self) -> RelevantRows:
        """The function that says which rows of the database are relevant to a query."""
        if self.query.ndim == 1:
            return _same_label(self.query, self.database)
        return _any_shared_label(self.query, self.database)

    def query_groups(self) -> dict[str, NDArray[np.int64]]:
        """Rows, int64, of the queries that have each label, by its name, in label order."""
        if self.query.ndim == 1:
            present = np.unique(self.query[self.query >= 0])
            return {self._name(int(c)): np.flatnonzero(self.query == c) for c in present}
        present = np.flatnonzero(self.query.any(axis=0))
        return {self._name(int(c)): np.flatnonzero(self.query[:, c]) for c in present}

    def _name(self, label: int) -> str:
        return self.class_names[label] if label < len(self.class_names) else str(label)


def match_labels(query: CodeDatabase, databases: Sequence[CodeDatabase]) -> MatchedLabels:
    """Number the labels of queries and databases alike.

    Parameters
    ----------
    query
        The queries; each must have a label.
    databases
        What they are ranked against, one or more; their rows follow each other.

    Raises
    ------
    EvaluationError
        If a set has no labels, a query has none, or the labels cannot be matched.
    """
    sets = [query, *databases]
    labels = [_labels_of(one, "the queries" if one is query else "the database") for one in sets]
    n_unlabelled = int(np.count_nonzero(_is_unlabelled(labels[0])))
    if n_unlabelled:
        raise EvaluationError(
            f"every query needs a label, but {n_unlabelled} of {len(labels[0])} have none: "
            "leave them out of the queries"
        )
    is_multi_hot = any(one.ndim == 2 for one in labels)
    named = [bool(len(one.class_names)) for one in sets]
    if all(named):
        names = list(dict.fromkeys(name for one in sets for name in one.class_names))
        matched = [
            _renumber(one, list(which.class_names), names, is_multi_hot)
            for one, which in zip(labels, sets, strict=True)
        ]
    else:
        if any(named):
            logger.warning("labels are matched by number, since not every set names its classes")
        names = next((list(one.class_names) for one in sets if len(one.class_names)), [])
        matched = _by_number(labels) if is_multi_hot else labels
    return MatchedLabels(matched[0], np.concatenate(matched[1:]), tuple(names))


def _labels_of(one: CodeDatabase, what: str) -> Labels:
    if one.labels is None:
        raise EvaluationError(f"expected labels for {what}, found none: relevance is shared labels")
    labels = np.asarray(one.labels)
    check_labels(labels, len(one))
    return labels.astype(np.int64) if labels.ndim == 1 else labels.astype(np.bool_)


def _is_unlabelled(labels: Labels) -> NDArray[np.bool_]:
    return np.less(labels, 0) if labels.ndim == 1 else ~np.any(labels, axis=1)


def _renumber(labels: Labels, own_names: list[str], names: list[str], multi_hot: bool) -> Labels:
    """Labels numbered by ``own_names``, numbered by ``names`` instead."""
    if len(set(own_names)) < len(own_names):
        twice = next(name for name in own_names if own_names.count(name) > 1)
        raise EvaluationError(f"class names must differ, but {twice!r} names two classes of a set")
    n_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max(initial=-1)) + 1
    if n_classes > len(own_names):
        raise EvaluationError(
            f"expected a name for each of {n_classes} classes, found {len(own_names)} names"
        )
    position = {name: number for number, name in enumerate(names)}
    numbers = np.array([position[name] for name in own_names], dtype=np.int64)
    if labels.ndim == 1:
        single = np.where(labels >= 0, numbers[labels], -1)
        return _one_hot(single, len(names)) if multi_hot else single
    result = np.zeros((len(labels), len(names)), dtype=np.bool_)
    result[:, numbers[:n_classes]] = labels
    return result


def _by_number(labels: Sequence[Labels]) -> list[Labels]:
    """All labels as bool [n, c], of one width."""
    widths = sorted({one.shape[1] for one in labels if one.ndim == 2})
    if len(widths) > 1:
        raise EvaluationError(
            f"label matrices have {' and '.join(map(str, widths))} columns: without class names "
            "to match them by, all sets need the same"
        )
    largest = max((int(one.max(initial=-1)) for one in labels if one.ndim == 1), default=-1)
    if largest >= widths[0]:
        raise EvaluationError(
            f"label {largest} is beyond the {widths[0]} columns of the other set's label matrix"
        )
    return [_one_hot(one, widths[0]) if one.ndim == 1 else one for one in labels]


def _one_hot(labels: Labels, n_classes: int) -> NDArray[np.bool_]:
    result = np.zeros((len(labels), n_classes), dtype=np.bool_)
    rows = np.flatnonzero(labels >= 0)
    result[rows, labels[rows]] = True
    return result


def _same_label(query_labels: Labels, database_labels: Labels) -> RelevantRows:
    # Numbered from 0 in the smallest type: this comparison is made for every query and row.
    known, query_ids = np.unique(query_labels, return_inverse=True)
    dtype = np.min_scalar_type(-max(1, len(known)))
    positions = np.searchsorted(known, database_labels)
    is_known = positions < len(known)
    is_known[is_known] = known[positions[is_known]] == database_labels[is_known]
    database_ids = np.where(is_known, positions, -1).astype(dtype)
    query_ids = query_ids.astype(dtype)

    def relevant(query: int, first: int, last: int) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = database_ids[first:last] == query_ids[query]
        return mask

    return relevant


def _any_shared_label(query_labels: Labels, database_labels: Labels) -> RelevantRows:
    query_words = planes(np.packbits(query_labels, axis=1))
    database_words = planes(np.packbits(database_labels, axis=1))

    def relevant(query: int, first: int, last: int) -> NDArray[np.bool_]:
        shared = database_words[0, first:last] & query_words[0, query]
        for word in range(1, len(database_words)):
            shared |= database_words[word, first:last] & query_words[word, query]
        mask: NDArray[np.bool_] = shared != 0
        return mask

    return relevant
