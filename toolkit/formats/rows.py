"""The kept (not deleted) rows of a database by column, in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.codesets import CodeDatabase

if TYPE_CHECKING:
    from hashkit.bank.image_files import ImageFiles

__all__ = ["files_of", "has_names", "kept_codes", "kept_files", "kept_labels", "kept_names"]

BLOCK_ROWS: Final = 131_072
"""Rows per piece: a few megabytes with names and labels; also a row group of a Parquet file."""


def has_names(database: CodeDatabase) -> bool:
    """Whether any row has a name; in a bank made from codes without names, all are empty."""
    return any(database.names)


def kept_codes(database: CodeDatabase) -> Iterator[NDArray[np.uint8]]:
    """Packed codes of each piece, uint8 [rows, ceil(n_bits / 8)]."""
    codes = database.codes
    for start, stop, kept in _pieces(database):
        yield codes[start:stop] if kept is None else codes[start:stop][kept]


def kept_names(database: CodeDatabase) -> Iterator[list[str]]:
    """Names of each piece; empty strings if the database has none."""
    names = database.names
    for start, stop, kept in _pieces(database):
        piece = list(names[start:stop]) if len(names) else [""] * (stop - start)
        yield piece if kept is None else list(compress(piece, kept))


def kept_labels(database: CodeDatabase) -> Iterator[NDArray[Any] | None]:
    """Labels of each piece, integer [rows] or 0/1 [rows, n_classes]; None if there are none."""
    labels = database.labels
    for start, stop, kept in _pieces(database):
        if labels is None:
            yield None
        else:
            yield labels[start:stop] if kept is None else labels[start:stop][kept]


def files_of(database: CodeDatabase) -> ImageFiles | None:
    """Size, time and digest of each image's file, which only a bank may have."""
    from hashkit.bank.reader import Bank  # here, because other formats do not need h5py

    return database.files if isinstance(database, Bank) else None


def kept_files(database: CodeDatabase) -> Iterator[ImageFiles | None]:
    """Image files of each piece; None if they are unknown."""
    files = files_of(database)
    for start, stop, kept in _pieces(database):
        piece = None if files is None else files[start:stop]
        yield piece if piece is None or kept is None else piece[kept]


def _pieces(database: CodeDatabase) -> Iterator[tuple[int, int, NDArray[np.bool_] | None]]:
    deleted = database.deleted
    for start in range(0, len(database), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(database))
        yield start, stop, None if deleted is None else ~deleted[start:stop]
