"""Checks that the file a command writes replaces no image and no file of another kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hashkit.codesets import CodeDatabase
from hashkit.errors import ConfigError
from hashkit.workflow.row_images import RowImages

__all__ = ["check_page_path", "check_picture_path", "check_table_path"]

_PAGES: Final = (".html", ".htm")
_TABLES: Final = (".csv", ".tsv", ".txt")


def check_page_path(path: Path | None) -> None:
    """Raise `ConfigError` if a page would replace a file of another kind, such as an image."""
    _check_ending(path, _PAGES)


def check_table_path(path: Path | None) -> None:
    """Raise `ConfigError` if a table would replace a file of another kind, such as a bank."""
    _check_ending(path, _TABLES)


def _check_ending(path: Path | None, endings: Sequence[str]) -> None:
    if path is not None and _is_file(path) and path.suffix.lower() not in endings:
        raise ConfigError(
            f"{path}: expected a new file or one that ends in {', '.join(endings[:-1])} or "
            f"{endings[-1]}, found another file, which is not replaced: choose another name"
        )


def check_picture_path(
    path: Path, find: RowImages, banks: Iterable[CodeDatabase], queries: Iterable[object]
) -> None:
    """Raise `ConfigError` if a picture of hits would replace a query or a file of a collection.

    Parameters
    ----------
    path
        The file to write.
    find
        Finds the images of rows.
    banks
        The banks that are searched: no file below their folders is replaced.
    queries
        Images of the queries; those that are paths are not replaced.
    """
    if not _is_file(path):
        return
    files = [one for one in queries if isinstance(one, str | os.PathLike)]
    is_query = any(os.path.exists(one) and os.path.samefile(one, path) for one in files)  # noqa: PTH110, PTH121
    if is_query or any(next(find.names_of(bank, path), None) is not None for bank in banks):
        raise ConfigError(
            f"{path}: expected a new file, found a query or an image of a collection, which "
            "is not replaced: choose another name"
        )


def _is_file(path: Path) -> bool:
    # Unlike Path.is_file, this is False for names that no file can have; writing reports them.
    return os.path.isfile(path)  # noqa: PTH113
