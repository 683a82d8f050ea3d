"""Checks, before any work, that the file a command writes replaces nothing of another kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hashkit.codesets import CodeDatabase
from hashkit.errors import ConfigError
from hashkit.inputs.paths import is_file
from hashkit.workflow.row_images import RowImages

__all__ = [
    "check_latex_path",
    "check_markdown_path",
    "check_page_path",
    "check_picture_path",
    "check_table_path",
]

_PAGES: Final = (".html", ".htm")
_TABLES: Final = (".csv", ".tsv")
_LATEX: Final = (".tex",)
_MARKDOWN: Final = (".md", ".markdown")


def check_page_path(path: Path | None) -> None:
    """Raise `ConfigError` if a page would replace a file of another kind, such as an image."""
    _check_replaced(path, _PAGES)


def check_table_path(path: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Raise `ConfigError` if a table would replace a file of another kind, or one of ``inputs``."""
    _check_replaced(path, _TABLES, inputs)


def check_latex_path(path: Path | None) -> None:
    """Raise `ConfigError` if a table in LaTeX would replace a file of another kind."""
    _check_replaced(path, _LATEX)


def check_markdown_path(path: Path | None) -> None:
    """Raise `ConfigError` if a table in Markdown would replace a file of another kind."""
    _check_replaced(path, _MARKDOWN)


def _check_replaced(
    path: Path | None, endings: Sequence[str], inputs: Iterable[Path | None] = ()
) -> None:
    if path is None or not is_file(path):
        return
    if path.suffix.lower() not in endings:
        raise ConfigError(
            f"{path}: expected a new file or one that ends in {' or '.join(endings)}, found "
            "another file, which is not replaced: choose another name"
        )
    if any(one is not None and is_file(one) and one.samefile(path) for one in inputs):
        raise ConfigError(
            f"{path}: expected a new file, found one that is read, which is not replaced: choose "
            "another name"
        )


def check_picture_path(
    path: Path, find: RowImages, banks: Iterable[CodeDatabase], queries: Iterable[str]
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
        What is searched with: files, folders, of which no file is replaced, and other names.
    """
    if not is_file(path):
        return
    is_query = any(_is_in(path, query) for query in queries)
    if is_query or any(next(find.names_of(bank, path), None) is not None for bank in banks):
        raise ConfigError(
            f"{path}: expected a new file, found a query or an image of a collection, which "
            "is not replaced: choose another name"
        )


def _is_in(path: Path, query: str) -> bool:
    """Whether a file is a query, or lies in a folder of queries."""
    if not os.path.exists(query):  # noqa: PTH110 - False for names that no file can have
        return False
    is_query = os.path.samefile(query, path)  # noqa: PTH121
    return is_query or path.resolve().is_relative_to(Path(query).resolve())
