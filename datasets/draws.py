"""Kinds of protocols: how queries, training images and database are drawn.

A draw depends only on the seed, the requested numbers and the labels. Each class has its own
random stream, so adding images to one class does not change the draw of another.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import NO_ROWS, Rows, shuffled
from hashkit.errors import ProtocolError

__all__ = ["OfficialTest", "Parts", "PerClass", "Protocol", "RandomDraw", "UnseenClasses"]

_CLASS_STREAM: Final = 2
_ROW_STREAM: Final = 3
_UNSEEN_STREAM: Final = 4
_MAX_DEFAULT_QUERIES_PER_CLASS: Final = 20
_MAX_DEFAULT_QUERIES: Final = 1000


class Parts(NamedTuple):
    """Rows of each part, in any order."""

    queries: Rows
    training: Rows
    database: Rows
    unlabelled: Rows = NO_ROWS


class _ClassRows(NamedTuple):
    label: int
    name: str
    rows: Rows


@dataclasses.dataclass(frozen=True)
class PerClass:
    """The same number of queries and of training images from each class.

    Images without a label are never queries; they belong to the database, and to the training
    images if those are all images that are not queries.

    Attributes
    ----------
    summary
        The protocol in a few words.
    queries_per_class
        Queries; by default a fifth of the class, at least 1 and at most 20.
    training_per_class
        Training images; by default all images that are not queries.
    training_in_database
        Whether training images stay in the database.
    n_classes
        Number of classes that the set must have; None for any number.
    is_fixed
        Whether the numbers are part of the protocol and cannot be changed.
    has_unlabelled
        Whether training may see the other images of the database, without their labels.
    """

    summary: str
    queries_per_class: int | None = None
    training_per_class: int | None = None
    training_in_database: bool = True
    n_classes: int | None = None
    is_fixed: bool = False
    has_unlabelled: bool = False

    def draw(self, image_set: ImageSet, seed: int) -> Parts:
        """Rows of each part."""
        _check_database(self.training_per_class, self.training_in_database, "training_per_class")
        if self.has_unlabelled and self.training_per_class is None:
            raise ProtocolError(
                "with unlabelled images, the number of labelled ones is required: set "
                "`training_per_class`"
            )
        classes = _classes_of(image_set, self.n_classes)
        drawn = [
            _draw_rows(
                group.rows,
                (_CLASS_STREAM, group.label),
                seed,
                n_queries=self.queries_per_class or _default_queries(len(group.rows)),
                n_training=self.training_per_class,
                training_in_database=self.training_in_database,
                what=f"class {group.name!r}",
            )
            for group in classes
        ]
        parts = Parts(*(np.concatenate(part) for part in zip(*drawn, strict=True)))
        unknown = np.flatnonzero(~_has_label(image_set))
        extra = unknown if self.training_per_class is None else unknown[:0]
        training = np.concatenate([parts.training, extra])
        database = np.concatenate([parts.database, unknown])
        unlabelled = np.setdiff1d(database, training) if self.has_unlabelled else NO_ROWS
        return Parts(parts.queries, training, database, unlabelled)


@dataclasses.dataclass(frozen=True)
class OfficialTest:
    """The official test part as queries, the official training part as training and database.

    ``summary``, ``n_classes`` and ``is_fixed`` are as in `PerClass`.
    """

    summary: str
    n_classes: int | None = None
    is_fixed: ClassVar[bool] = True
    training_in_database: ClassVar[bool] = True

    def draw(self, image_set: ImageSet, seed: int) -> Parts:
        """Rows of each part; nothing is drawn, so the seed has no effect."""
        del seed
        if image_set.is_test is None or not image_set.is_test.any() or image_set.is_test.all():
            raise ProtocolError(
                f"{image_set.name} has no official test part; use another protocol, for example "
                "per-class"
            )
        if self.n_classes is not None:
            _classes_of(image_set, self.n_classes)
        training = np.flatnonzero(~image_set.is_test)
        return Parts(np.flatnonzero(image_set.is_test), training, training)


@dataclasses.dataclass(frozen=True)
class UnseenClasses:
    """Training on some classes, queries and database from the other, unseen classes.

    Images without a label belong to no part.

    A classifier's prediction is not a useful code for classes it was not trained on: Sablayrolles,
    Douze, Usunier and Jegou, *How should we evaluate supervised hashing?*, arXiv 1609.06753.

    Attributes
    ----------
    unseen_fraction
        Fraction of the classes, rounded half up; at least two classes if the set has three.
    unseen_classes
        Names of the unseen classes; empty to draw them by the seed.
    queries_per_class
        Queries from each unseen class, as in `PerClass`; its other images are the database.
    training_per_class
        Training images from each seen class; by default all.
    """

    summary: str
    unseen_fraction: float = 0.3
    unseen_classes: tuple[str, ...] = ()
    queries_per_class: int | None = None
    training_per_class: int | None = None
    is_fixed: ClassVar[bool] = False
    training_in_database: ClassVar[bool] = False

    def draw(self, image_set: ImageSet, seed: int) -> Parts:
        """Rows of each part."""
        classes = _classes_of(image_set)
        unseen_labels = self._choose_unseen(image_set.name, classes, seed)
        unseen = [
            _draw_rows(
                group.rows,
                (_CLASS_STREAM, group.label),
                seed,
                n_queries=self.queries_per_class or _default_queries(len(group.rows)),
                what=f"class {group.name!r}",
            )
            for group in classes
            if group.label in unseen_labels
        ]
        seen = [group for group in classes if group.label not in unseen_labels]
        return Parts(
            queries=np.concatenate([parts.queries for parts in unseen]),
            training=np.concatenate([self._draw_training(group, seed) for group in seen]),
            database=np.concatenate([parts.database for parts in unseen]),
        )

    def _choose_unseen(self, set_name: str, classes: list[_ClassRows], seed: int) -> set[int]:
        n_classes = len(classes)
        if n_classes < 2:
            raise ProtocolError(
                f"{set_name}: unseen classes need at least 2 classes, found {n_classes}"
            )
        if not self.unseen_classes:
            n_unseen = max(2, math.floor(self.unseen_fraction * n_classes + 0.5))
            labels = np.array([one.label for one in classes], dtype=np.int64)
            chosen = shuffled(labels, seed, _UNSEEN_STREAM)[: min(n_unseen, n_classes - 1)]
            return {int(label) for label in chosen}
        label_by_name = {one.name: one.label for one in classes}
        unknown = [name for name in self.unseen_classes if name not in label_by_name]
        if unknown or len(set(self.unseen_classes)) == n_classes:
            raise ProtocolError(
                f"{set_name}: `unseen_classes` must be some, not all, of "
                f"{', '.join(label_by_name)}; found {', '.join(self.unseen_classes)}"
            )
        return {label_by_name[name] for name in self.unseen_classes}

    def _draw_training(self, group: _ClassRows, seed: int) -> Rows:
        n_needed = self.training_per_class or 1
        if len(group.rows) < n_needed:
            raise _too_small(f"class {group.name!r}", len(group.rows), n_needed)
        return shuffled(group.rows, seed, _CLASS_STREAM, group.label)[: self.training_per_class]


@dataclasses.dataclass(frozen=True)
class RandomDraw:
    """Queries and training images from the whole set, regardless of its classes.

    Images without a label become queries only if there are too few with one.

    Attributes
    ----------
    n_queries
        Queries; by default a tenth of the set, at least 1 and at most 1,000.
    n_training
        Training images; by default all images that are not queries.
    training_in_database
        Whether training images stay in the database.
    """

    summary: str
    n_queries: int | None = None
    n_training: int | None = None
    training_in_database: bool = True
    is_fixed: ClassVar[bool] = False

    def draw(self, image_set: ImageSet, seed: int) -> Parts:
        """Rows of each part."""
        _check_database(self.n_training, self.training_in_database, "n_training")
        n_images = len(image_set)
        return _draw_rows(
            np.arange(n_images, dtype=np.int64),
            (_ROW_STREAM,),
            seed,
            n_queries=self.n_queries or min(_MAX_DEFAULT_QUERIES, max(1, n_images // 10)),
            n_training=self.n_training,
            training_in_database=self.training_in_database,
            what=image_set.name,
            may_be_query=_has_label(image_set),
        )


Protocol: TypeAlias = PerClass | OfficialTest | UnseenClasses | RandomDraw


def _classes_of(image_set: ImageSet, n_classes: int | None = None) -> list[_ClassRows]:
    """Classes that have images; if given, there must be ``n_classes`` of them."""
    labels = image_set.labels
    if labels is None or labels.ndim != 1:
        found = "no labels" if labels is None else "several labels per image"
        raise ProtocolError(
            f"{image_set.name}: expected one label per image, found {found}; "
            "use the protocol random"
        )
    found_labels = [int(label) for label in np.unique(labels) if label >= 0]
    if not found_labels:
        raise ProtocolError(f"{image_set.name}: expected images with labels, found none")
    if n_classes not in (None, len(found_labels)):
        raise ProtocolError(
            f"{image_set.name}: expected {n_classes} classes, found {len(found_labels)}; "
            "use the protocol per-class"
        )
    names = image_set.class_names
    return [
        _ClassRows(
            label,
            names[label] if label < len(names) else str(label),
            np.flatnonzero(labels == label),
        )
        for label in found_labels
    ]


def _has_label(image_set: ImageSet) -> NDArray[np.bool_]:
    """Images with a label, bool [n]; all images if the set has no labels at all."""
    labels = image_set.labels
    if labels is None:
        return np.ones(len(image_set), dtype=np.bool_)
    return np.asarray(labels >= 0 if labels.ndim == 1 else labels.any(axis=1))


def _default_queries(n_images: int) -> int:
    """A fifth of a class, from 1 to 20; none from a class of one, which has no other image."""
    return 0 if n_images < 2 else min(_MAX_DEFAULT_QUERIES_PER_CLASS, max(1, n_images // 5))


def _draw_rows(
    rows: Rows,
    stream: tuple[int, ...],
    seed: int,
    *,
    n_queries: int,
    n_training: int | None = None,
    training_in_database: bool = True,
    what: str,
    may_be_query: NDArray[np.bool_] | None = None,
) -> Parts:
    """Queries, then training images, from one shuffled order; ``n_training`` None takes all.

    Rows that may not be queries come last in that order; ``may_be_query`` is indexed by row.
    """
    n_outside = n_queries if training_in_database else n_queries + (n_training or 0)
    n_needed = max(n_outside + 1, n_queries + (n_training or 1))
    if len(rows) < n_needed:
        raise _too_small(what, len(rows), n_needed)
    order = shuffled(rows, seed, *stream)
    if may_be_query is not None:
        order = order[np.argsort(~may_be_query[order], kind="stable")]
    rest = order[n_queries:]
    return Parts(order[:n_queries], rest[:n_training], order[n_outside:])


def _check_database(n_training: int | None, training_in_database: bool, option: str) -> None:
    if n_training is None and not training_in_database:
        raise ProtocolError(
            f"without training images in the database, their number is required: set `{option}`"
        )


def _too_small(what: str, n_found: int, n_needed: int) -> ProtocolError:
    return ProtocolError(
        f"expected at least {n_needed} images in {what}, found {n_found}; "
        "add images, or use fewer queries or training images"
    )
