"""Narrow a search: by the index of a bank, and by the rows of some classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.reader import Bank
from hashkit.errors import ConfigError, IndexMismatchError
from hashkit.workflow.index_state import partial_index_text
from hashkit.workflow.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from hashkit.multi_index.index import MultiIndex
    from hashkit.retrieval.indexed import Index

__all__ = ["check_classes", "has_index", "open_index", "rows_of_labels", "rows_with_labels"]

_LARGE_TAIL: Final = 0.1
"""Share of rows not in the index above which a search says that building it again would pay."""


def open_index(banks: Sequence[Bank], reporter: Reporter = SILENT) -> Index | None:
    """The index beside a bank, or a list of those beside several banks; None if there is none.

    An index that does not match its bank is left out, with a warning.
    """
    found = [_open_index(bank, reporter) for bank in banks]
    if len(found) == 1:
        return found[0]
    return found if any(index is not None for index in found) else None


def has_index(banks: Sequence[Bank]) -> bool:
    """Whether an index lies beside one of the banks; it may not match its bank."""
    from hashkit.multi_index.index import index_path

    return any(index_path(bank.path).is_file() for bank in banks)


def _open_index(bank: Bank, reporter: Reporter) -> MultiIndex | None:
    from hashkit.multi_index.index import MultiIndex, index_path

    path = index_path(bank.path)
    if not path.is_file():
        return None
    try:
        index = MultiIndex.open(path, bank)
    except IndexMismatchError as error:
        reporter.note(f"warning: the index is not used, and every row is compared: {error}")
        return None
    if len(bank) - index.n_rows > len(bank) * _LARGE_TAIL:
        reporter.note(partial_index_text(path, index.n_rows, len(bank)))
    return index


def rows_of_labels(banks: Sequence[Bank], names: Sequence[str]) -> NDArray[np.bool_]:
    """Rows of all banks that have one of the classes: bool [n].

    Raises
    ------
    ConfigError
        If no bank has a class of that name.
    """
    check_classes(banks, names)
    return rows_with_labels(banks, names)


def check_classes(banks: Sequence[Bank], names: Sequence[str]) -> None:
    """Raise `ConfigError` if no bank has a class of one of these names."""
    known = {name for bank in banks for name in _class_names(bank)}
    for name in names:
        if name not in known:
            listed = ", ".join(sorted(known)[:20]) or (
                "none: the images have no labels; `hashkit encode --labels folders` makes classes "
                "of subfolders"
            )
            raise ConfigError(f'`label="{name}"`: no such class; known: {listed}')


def rows_with_labels(banks: Sequence[Bank], names: Sequence[str]) -> NDArray[np.bool_]:
    """As `rows_of_labels`, but without the check: banks elsewhere may have the classes."""
    return np.concatenate([_rows_of(bank, names) for bank in banks])


def _class_names(bank: Bank) -> Sequence[str]:
    if bank.labels is None or bank.class_names:
        return bank.class_names
    return [str(label) for label in np.unique(bank.labels) if label >= 0]


def _rows_of(bank: Bank, names: Sequence[str]) -> NDArray[np.bool_]:
    labels = bank.labels
    if labels is None:
        return np.zeros(len(bank), dtype=np.bool_)
    numbers = (
        [number for number, name in enumerate(bank.class_names) if name in names]
        if bank.class_names
        else [int(name) for name in names if name.isdecimal()]
    )
    if labels.ndim == 2:
        return np.asarray(labels[:, numbers].any(axis=1))
    return np.isin(labels, numbers)
