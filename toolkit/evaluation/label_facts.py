"""Facts about the labels of a database, so that they need not be read again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase
from hashkit.errors import EvaluationError
from hashkit.inputs.label_values import as_label_array

__all__ = ["LabelFacts", "check_labelled", "labels_of", "missing_labels"]

Labels: TypeAlias = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class LabelFacts:
    """The kind of a database's labels, and the classes that they name.

    Attributes
    ----------
    class_names
        Names of the classes by label; empty if there are none.
    width
        Columns of a label matrix; None for one label per row.
    largest
        The largest label where there is one per row; -1 if no row has one.
    """

    class_names: tuple[str, ...]
    width: int | None
    largest: int

    @classmethod
    def of(cls, database: CodeDatabase, labels: Labels) -> LabelFacts:
        """Facts of the labels of a database, as `labels_of` gives them."""
        names = tuple(database.class_names)
        if labels.ndim == 2:
            return cls(names, labels.shape[1], -1)
        return cls(names, None, int(labels.max(initial=-1)))


def labels_of(one: CodeDatabase, what: str) -> Labels:
    """The labels of a database as signed integers [n] or a matrix [n, n_classes].

    Parameters
    ----------
    what
        The database in messages.

    Raises
    ------
    CodesError
        If they are not labels.
    EvaluationError
        If there are none, or not one per row.
    """
    if one.labels is None:
        raise missing_labels(what)
    # The values of a database's label matrix are checked when they are read, in blocks.
    labels = as_label_array(one.labels)
    if len(labels) != len(one):
        raise EvaluationError(f"expected a label for each of {len(one)} rows, found {len(labels)}")
    return labels


def check_labelled(queries: CodeDatabase, databases: Sequence[CodeDatabase]) -> None:
    """Raise `EvaluationError` if queries or a database have no labels."""
    for what, parts in (("the database", databases), ("the queries", [queries])):
        if any(one.labels is None for one in parts):
            raise missing_labels(what)


def missing_labels(what: str) -> EvaluationError:
    """The error that a database has no labels."""
    argument = "query_labels" if what == "the queries" else "database_labels"
    return EvaluationError(
        f"expected labels for {what}, found none: relevance is defined by shared labels; give them "
        f"in a file with `{argument}=...`, or, for a folder with a subfolder per class, encode "
        'with `labels="folders"`'
    )
