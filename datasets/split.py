"""A split of an image set into queries, training images and database."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ProtocolError
from hashkit.inputs.masks import unmasked

__all__ = ["NO_ROWS", "PartName", "Rows", "Split", "holdout", "shuffled"]

Rows: TypeAlias = NDArray[np.int64]
PartName: TypeAlias = Literal["queries", "training", "database", "all"]

NO_ROWS: Final[Rows] = np.arange(0)
"""No rows at all."""

_HOLDOUT_STREAM = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Rows of an image set, by part.

    Attributes
    ----------
    protocol
        Name of the protocol that drew the split.
    seed
        Seed of the draw.
    queries, training, database
        int64, sorted, unique.
    training_in_database
        Whether the protocol allows training images in the database.
    unlabelled
        int64, sorted, unique; images that training may see without their labels. Often none.
    """

    protocol: str
    seed: int
    queries: Rows
    training: Rows
    database: Rows
    training_in_database: bool = True
    unlabelled: Rows = dataclasses.field(default_factory=NO_ROWS.copy)

    def __post_init__(self) -> None:
        for field in ("queries", "training", "database", "unlabelled"):
            rows = np.asarray(unmasked(getattr(self, field), field, ProtocolError), dtype=np.int64)
            is_short = not rows.size and field != "unlabelled"
            if rows.ndim != 1 or is_short or np.any(np.diff(rows) <= 0) or np.any(rows[:1] < 0):
                raise ProtocolError(
                    f"{self.protocol}: {field} must be at least one row, sorted and unique"
                )
            object.__setattr__(self, field, rows)
        if np.isin(self.unlabelled, np.concatenate([self.queries, self.training])).any():
            raise ProtocolError(
                f"{self.protocol}: expected unlabelled images apart from queries and training "
                "images, found one in both: remove it from one of the two"
            )

    def part(self, name: PartName) -> Rows:
        """Rows of ``queries``, ``training`` or ``database``, or their union, ``all``.

        Raises
        ------
        ProtocolError
            If there is no such part.
        """
        if name not in get_args(PartName):
            raise ProtocolError(f"unknown part {name!r}; known: {', '.join(get_args(PartName))}")
        if name == "all":
            return np.unique(np.concatenate([self.queries, self.training, self.database]))
        rows: Rows = getattr(self, name)
        return rows


def shuffled(rows: Rows, seed: int, *stream: int) -> Rows:
    """Shuffle rows; the order depends only on the seed, the stream and the number of rows.

    The order is that of raw 64-bit numbers from a PCG64 bit generator. NumPy guarantees these on
    every platform and in every release, but not its permutations.

    Raises
    ------
    ProtocolError
        If the seed is negative.
    """
    if seed < 0:
        raise ProtocolError(f"`seed` must be 0 or more, not {seed}")
    keys = np.random.PCG64(np.random.SeedSequence((seed, *stream))).random_raw(len(rows))
    return rows[np.argsort(keys, kind="stable")]


def holdout(
    labels: NDArray[Any] | None, rows: Rows, fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Divide training rows into rows to fit and held-out rows for model selection.

    Parameters
    ----------
    labels
        Labels of the whole set: int [n], divided class by class; uint8 [n, n_classes] or None,
        divided as one class.
    rows
        int64, the training rows.
    fraction
        Fraction of each class to hold out, rounded half up. Of a class of two or more images, at
        least one is held out and at least one is kept.
    seed
        Seed of the draw; its stream differs from those of the protocols.

    Returns
    -------
    tuple
        Rows to fit, and held-out rows; int64, sorted.

    Raises
    ------
    ProtocolError
        If ``fraction`` is not between 0 and 1, or no image can be held out.
    """
    if not 0 < fraction < 1:
        raise ProtocolError(f"the fraction to hold out must be between 0 and 1, not {fraction}")
    rows = np.sort(np.asarray(rows, dtype=np.int64))
    row_labels = np.zeros(len(rows), dtype=np.int64)
    if labels is not None and labels.ndim == 1:
        row_labels = labels[rows]
    held = []
    for label in np.unique(row_labels):
        members = rows[row_labels == label]
        n_held = min(len(members) - 1, max(1, int(fraction * len(members) + 0.5)))
        held.append(shuffled(members, seed, _HOLDOUT_STREAM, int(label))[:n_held])
    held_rows = np.sort(np.concatenate(held)) if held else rows[:0]
    if not held_rows.size:
        raise ProtocolError(
            f"holding out images needs a class of two or more training images, found "
            f"{len(rows)} images in {len(held)} classes: add images, or set `holdout=0`"
        )
    return np.setdiff1d(rows, held_rows, assume_unique=True), held_rows
