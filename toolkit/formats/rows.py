"""The kept (not deleted) rows of a database by column, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank_set.joined import JoinedBanks
from hashkit.codesets import CodeDatabase

if TYPE_CHECKING:
    from hashkit.bank.image_files import ImageFiles

__all__ = [
    "BLOCK_ROWS",
    "files_of",
    "first_labels",
    "has_files",
    "has_names",
    "kept_codes",
    "kept_files",
    "kept_labels",
    "kept_names",
    "parts_of",
]

BLOCK_ROWS: Final = 131_072
"""Rows per piece: a few megabytes with names and labels; also a row group of a Parquet file."""


def parts_of(database: CodeDatabase) -> Sequence[CodeDatabase]:
    """The banks of a bank set, so that its rows are not copied; otherwise the database alone."""
    return database.banks if isinstance(database, JoinedBanks) else [database]


def first_labels(database: CodeDatabase) -> NDArray[Any] | None:
    """Labels of all rows; for a set, of its first bank, as the others have the same form."""
    return parts_of(database)[0].labels


def has_names(database: CodeDatabase) -> bool:
    """Whether any row has a name; in a bank made from codes without names, all are empty."""
    return any(database.names)


def kept_codes(database: CodeDatabase) -> Iterator[NDArray[np.uint8]]:
    """Packed codes of each piece, uint8 [rows, ceil(n_bits / 8)]."""
    for part in parts_of(database):
        codes = part.codes
        for start, stop, kept in _pieces(part):
            yield codes[start:stop] if kept is None else codes[start:stop][kept]


def kept_names(database: CodeDatabase) -> Iterator[list[str]]:
    """Names of each piece; empty strings if the database has none."""
    for part in parts_of(database):
        names = part.names
        for start, stop, kept in _pieces(part):
            piece = list(names[start:stop]) if len(names) else [""] * (stop - start)
            yield piece if kept is None else list(compress(piece, kept))


def kept_labels(database: CodeDatabase) -> Iterator[NDArray[Any] | None]:
    """Labels of each piece, integer [rows] or 0/1 [rows, n_classes]; None if there are none."""
    for part in parts_of(database):
        labels = part.labels
        for start, stop, kept in _pieces(part):
            if labels is None:
                yield None
            else:
                yield labels[start:stop] if kept is None else labels[start:stop][kept]


def files_of(database: CodeDatabase) -> ImageFiles | None:
    """Size, time and digest of each image's file, which only a bank may have."""
    from hashkit.bank.reader import Bank  # here, because other formats do not need h5py

    return database.files if isinstance(database, Bank) else None


def has_files(database: CodeDatabase) -> bool:
    """Whether the image file of every row is known."""
    return all(files_of(part) is not None for part in parts_of(database))


def kept_files(database: CodeDatabase) -> Iterator[ImageFiles | None]:
    """Image files of each piece; None if they are unknown."""
    is_known = has_files(database)
    for part in parts_of(database):
        files = files_of(part) if is_known else None
        for start, stop, kept in _pieces(part):
            piece = None if files is None else files[start:stop]
            yield piece if piece is None or kept is None else piece[kept]


def _pieces(database: CodeDatabase) -> Iterator[tuple[int, int, NDArray[np.bool_] | None]]:
    deleted = database.deleted
    for start in range(0, len(database), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(database))
        yield start, stop, None if deleted is None else ~deleted[start:stop]
