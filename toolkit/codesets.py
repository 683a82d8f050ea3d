"""Codes in memory, with the names and labels of their images.

`CodeDatabase` is the protocol that search and evaluation need; `CodeSet` and `Bank` implement it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import check_code_shape, check_codes
from hashkit.errors import BankMismatchError, CodesError, ConfigError, HashkitError
from hashkit.inputs.arguments import argument_shown, whole_number
from hashkit.inputs.label_values import as_label_array
from hashkit.inputs.masks import unmasked

__all__ = [
    "CodeDatabase",
    "CodeSet",
    "check_bits",
    "check_database",
    "check_labels",
    "check_names",
    "check_one_model",
    "check_radius",
    "codes_of_all",
    "deleted_mask",
    "kept_rows",
    "label_names",
    "label_numbers",
    "n_kept_rows",
]


class CodeDatabase(Protocol):
    """Packed codes, with the names and labels of their images."""

    @property
    def codes(self) -> NDArray[np.uint8]:
        """uint8 [n, ceil(n_bits / 8)]; may be mapped from a file."""

    @property
    def n_bits(self) -> int:
        """Number of bits of a code."""

    @property
    def labels(self) -> NDArray[Any] | None:
        """Integer [n], negative where unknown; or 0/1 [n, n_classes] (multi-hot); or None."""

    @property
    def names(self) -> Sequence[str]:
        """Name or path of each image; empty if there are none."""

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes by label; empty if there are none."""

    @property
    def deleted(self) -> NDArray[np.bool_] | None:
        """Mask of deleted rows, bool [n]; None if no row is deleted. They keep their numbers."""

    def __len__(self) -> int:
        """Number of rows, including deleted ones."""
        ...


@dataclasses.dataclass(frozen=True)
class CodeSet:
    """Codes held in memory.

    Attributes
    ----------
    codes
        Packed codes, uint8 [n, ceil(n_bits / 8)].
    n_bits
        Number of bits of a code.
    labels
        Integer [n] (negative: unknown), or 0/1 [n, n_classes] (multi-hot), or None. Unsigned
        integers, bools and whole floats become signed integers.
    names
        One name per row, or empty.
    class_names
        Names of the classes by label, or empty.
    deleted
        Mask of deleted rows, bool [n]; None if no row is deleted.

    Raises
    ------
    CodesError
        If shapes, dtypes or padding are invalid.
    """

    codes: NDArray[np.uint8]
    n_bits: int
    labels: NDArray[Any] | None = None
    names: Sequence[str] = ()
    class_names: Sequence[str] = ()
    deleted: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_bits", whole_number(self.n_bits, "n_bits", error=CodesError))
        object.__setattr__(self, "codes", check_codes(self.codes, self.n_bits))
        n_rows = len(self.codes)
        for field in ("names", "class_names"):
            object.__setattr__(self, field, check_names(getattr(self, field), field))
        if len(self.names) not in (0, n_rows):
            raise CodesError(f"expected one name per code, {n_rows}, found {len(self.names)}")
        if self.labels is not None:
            object.__setattr__(self, "labels", check_labels(self.labels, n_rows))
        deleted = unmasked(self.deleted, "`deleted`")
        object.__setattr__(self, "deleted", deleted)
        if deleted is not None and not isinstance(deleted, np.ndarray):
            raise CodesError(f"`deleted` must be bool [{n_rows}], not {argument_shown(deleted)}")
        if deleted is not None and (deleted.dtype != np.bool_ or deleted.shape != (n_rows,)):
            raise CodesError(
                f"`deleted` must be bool [{n_rows}], not {deleted.dtype} {list(deleted.shape)}"
            )

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        columns = ("labels", "names") if self.names else ("labels",)
        has = "".join(f", {name}" for name in columns if getattr(self, name) is not None)
        return f"<{type(self).__name__}: {len(self)} codes of {self.n_bits} bits{has}>"


def check_names(names: Any, argument: str, error: type[HashkitError] = CodesError) -> Sequence[str]:
    """A list of names, from a sequence or an array of text.

    Raises
    ------
    HashkitError
        ``error``, for a single text (whose letters would become the names), and for other values.
    """
    if isinstance(names, str | bytes):
        raise error(
            f"`{argument}` must be a list of names, not the text {names!r}: give [{names!r}]"
        )
    if isinstance(names, np.ndarray):
        names = unmasked(names, f"`{argument}`", error)
    if isinstance(names, np.ndarray) and names.dtype.kind == "U" and names.ndim == 1:
        texts: list[str] = names.tolist()
        return texts
    # Names of a file are read on access, so they are not looked at here.
    is_plain = isinstance(names, list | tuple)
    if not isinstance(names, Sequence) or (
        is_plain and not all(isinstance(name, str) for name in names)
    ):
        raise error(f"`{argument}` must be a list of names, not {argument_shown(names)}")
    listed: Sequence[str] = names
    return listed


def deleted_mask(database: CodeDatabase) -> NDArray[np.bool_]:
    """Mask of the deleted rows, bool [n], even if none is deleted; do not write to it."""
    deleted = database.deleted
    return np.zeros(len(database), np.bool_) if deleted is None else deleted


def kept_rows(database: CodeDatabase) -> NDArray[np.int64]:
    """Rows that are not deleted, int64 [n_kept], ascending."""
    deleted = database.deleted
    rows = np.arange(len(database)) if deleted is None else np.flatnonzero(~deleted)
    return rows.astype(np.int64, copy=False)


def n_kept_rows(database: CodeDatabase) -> int:
    """Number of rows that are not deleted."""
    deleted = database.deleted
    return len(database) - (0 if deleted is None else int(np.count_nonzero(deleted)))


def label_numbers(database: CodeDatabase, row: int) -> list[int] | None:
    """Class numbers of a row; None if its labels are unknown."""
    if database.labels is None:
        return None
    label = database.labels[row]
    if np.ndim(label):
        return [int(number) for number in np.flatnonzero(label)]
    return [int(label)] if label >= 0 else None


def label_names(database: CodeDatabase, row: int) -> tuple[str, ...] | None:
    """Class names of a row, or numbers where there is no name; None if its labels are unknown."""
    numbers, known = label_numbers(database, row), database.class_names
    if numbers is None:
        return None
    return tuple(known[number] if number < len(known) else str(number) for number in numbers)


def check_labels(labels: object, n_rows: int) -> NDArray[Any]:
    """Labels as signed integers [n_rows] or a 0/1 matrix [n_rows, n_classes].

    Raises
    ------
    CodesError
        If they cannot be converted without a loss (`hashkit.inputs.label_values`), or do not have
        ``n_rows`` rows.
    """
    array = as_label_array(labels)
    if len(array) != n_rows:
        raise CodesError(f"expected one label per code, {n_rows}, found {len(array)}")
    if array.ndim == 2 and array.size and not 0 <= array.min() <= array.max() <= 1:
        raise CodesError(
            "a label matrix must contain 0 and 1, with one column per class, "
            f"found {array.min()} to {array.max()}"
        )
    return array


def check_database(value: object, what: str = "the database") -> None:
    """Raise `CodesError` for a text or an array in place of a bank or code set."""
    # The class of a bank has both attributes; asking the object would read its codes.
    holder = type(value) if hasattr(type(value), "codes") else value
    if not hasattr(holder, "codes") or not hasattr(holder, "n_bits"):
        raise CodesError(
            f"{what} must be a bank or code set, not {argument_shown(value)}: open a bank with "
            "`Bank.open`, or make one with `CodeSet(codes, n_bits, labels)`"
        )


def check_radius(radius: Any, n_bits: int) -> int:
    """A distance in bits that two codes of ``n_bits`` bits can have.

    Raises
    ------
    ConfigError
        If it is not an integer from 0 to ``n_bits``; a larger radius would find all rows.
    """
    checked = whole_number(radius, "radius", 0)
    if checked > n_bits:
        raise ConfigError(
            f"`radius` must be at most {n_bits}, the bits of the codes, found {checked}"
        )
    return checked


def check_bits(databases: Sequence[CodeDatabase], n_bits: int | None = None) -> int:
    """Number of bits of the codes of all databases; see `codes_of_all`."""
    return codes_of_all(databases, n_bits)[1]


def codes_of_all(
    databases: Sequence[CodeDatabase], n_bits: int | None = None
) -> tuple[list[NDArray[np.uint8]], int]:
    """Codes of each database, and their number of bits; each is read once.

    Parameters
    ----------
    n_bits
        The expected number, if known.

    Raises
    ------
    CodesError
        If there is no database, or one has another number of bits.
    """
    if not databases:
        raise CodesError("expected at least one database, found none")
    for database in databases:
        check_database(database)
    n_bits = databases[0].n_bits if n_bits is None else whole_number(n_bits, "n_bits")
    codes = []
    for database in databases:
        if database.n_bits != n_bits:
            raise CodesError(f"expected a database of {n_bits} bits, found {database.n_bits} bits")
        # The padding was checked when the database was made; reading all pages again is slow.
        codes.append(check_code_shape(database.codes, n_bits, "database codes"))
    return codes, n_bits


def check_one_model(databases: Sequence[object]) -> None:
    """Check that codes that are searched together come from one model, as far as it is known.

    Parameters
    ----------
    databases
        Banks, whose headers name the model, and other databases, which name none.

    Raises
    ------
    BankMismatchError
        If two banks were made by different models.
    """
    made_by: dict[str, object] = {}
    for database in databases:
        model = getattr(getattr(database, "header", None), "model_sha256", "")
        if model:
            made_by.setdefault(model, getattr(database, "path", database))
    if len(made_by) > 1:
        first, other, *_ = made_by.values()
        raise BankMismatchError(
            f"expected banks of one model, found {first} and {other} of different models, whose "
            "codes cannot be compared: search each separately"
        )
