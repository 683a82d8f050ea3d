"""Labels of new images of a folder, by the rule that its bank's labels follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.header import BankHeader

__all__ = ["FolderLabels"]

_DEPTHS = (0, 1)
"""Which part of a name can be the class: the first, or the second after train and test."""


@dataclasses.dataclass(frozen=True)
class FolderLabels:
    """The rule by which a bank labels images.

    A name that has a label keeps it. If all labels of a bank are those of the subfolders, new
    images are labelled in the same way; otherwise they get none.

    Attributes
    ----------
    header
        Header of the bank.
    by_name
        Labels of rows by name: numbers, or multi-hot rows.
    depth
        Which part of a name is the class; None if the labels have another origin.
    """

    header: BankHeader
    by_name: Mapping[str, Any]
    depth: int | None = None

    @classmethod
    def of_rows(
        cls, header: BankHeader, names: Sequence[str], labels: NDArray[Any] | None
    ) -> FolderLabels:
        """The rule of a bank with this header, whose rows have ``names`` and ``labels``."""
        if header.label_kind == "none" or labels is None:
            return cls(header, {})
        by_name = dict(zip(names, np.asarray(labels), strict=True))
        if header.label_kind == "multi":
            return cls(header, by_name)
        numbers = _numbers(header)
        fit = (depth for depth in _DEPTHS if _predicts_labels(numbers, by_name, depth))
        return cls(header, by_name, next(fit, None))

    def labels_of(
        self, names: Sequence[str], earlier: Sequence[str | None]
    ) -> NDArray[np.int64] | None:
        """Labels of new rows, in the form that a bank takes; None for a bank without labels.

        Parameters
        ----------
        names
            Names of the images.
        earlier
            The earlier name of each; None where there is none.
        """
        if self.header.label_kind == "none":
            return None
        numbers = _numbers(self.header)
        labels = [self._label(*one, numbers) for one in zip(names, earlier, strict=True)]
        shape = (-1, len(self.header.class_names)) if self.header.label_kind == "multi" else (-1,)
        return np.array(labels, np.int64).reshape(shape)

    def _label(self, name: str, earlier: str | None, numbers: Mapping[str, int]) -> Any:
        if name in self.by_name:
            return self.by_name[name]
        if self.depth is not None:
            return _label_at_depth(numbers, name, self.depth)
        if earlier is not None and earlier in self.by_name:
            return self.by_name[earlier]
        return -1 if self.header.label_kind == "single" else [0] * len(self.header.class_names)


def _numbers(header: BankHeader) -> dict[str, int]:
    return {name: number for number, name in enumerate(header.class_names)}


def _predicts_labels(numbers: Mapping[str, int], by_name: Mapping[str, Any], depth: int) -> bool:
    labelled = {name: label for name, label in by_name.items() if label >= 0}
    return bool(labelled) and all(
        _label_at_depth(numbers, name, depth) == label for name, label in labelled.items()
    )


def _label_at_depth(numbers: Mapping[str, int], name: str, depth: int) -> int:
    """The label of an image's subfolder; -1 if it is not a class."""
    folders = name.split("/")[:-1]
    return numbers.get(folders[depth], -1) if len(folders) > depth else -1
