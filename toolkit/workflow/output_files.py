"""Checks, before any work, that a file can be written, and replaces nothing of another kind."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from hashkit.bank.files import check_bank_name
from hashkit.bank_set.places import is_bank_set
from hashkit.codesets import CodeDatabase
from hashkit.errors import BankError, ConfigError
from hashkit.files.addresses import check_local
from hashkit.inputs.paths import is_file
from hashkit.messages.os_errors import cannot_write
from hashkit.workflow.row_images import RowImages

__all__ = [
    "check_bank_path",
    "check_latex_path",
    "check_markdown_path",
    "check_model_path",
    "check_page_path",
    "check_picture_path",
    "check_table_path",
    "check_writable",
    "check_writable_folder",
]

_PAGES: Final = (".html", ".htm")
_TABLES: Final = (".csv", ".tsv")
_LATEX: Final = (".tex",)
_MARKDOWN: Final = (".md", ".markdown")
_MODELS: Final = (".onnx",)


def check_writable(path: Path) -> None:
    """Check that a file of this path can be written; folders above it may be missing.

    Raises
    ------
    ConfigError
        If it is a folder or ``-``, or lies below a file or in a folder that cannot be written.
    BankError
        If it is the address of an object store.
    """
    check_local(path)
    if str(path) == "-":
        raise ConfigError(
            "expected the name of a file, found `-`, but standard output is not supported here: "
            "name a file"
        )
    if os.path.isdir(path):  # noqa: PTH112 - False for names that no file can have
        raise ConfigError(cannot_write(IsADirectoryError(errno.EISDIR, "Is a directory"), path))
    _check_folder(path, Path(os.path.realpath(path)).parent)


def check_writable_folder(folder: Path) -> None:
    """Check that files can be made in a folder, which may be missing.

    Raises
    ------
    ConfigError, BankError
        As `check_writable` does.
    """
    check_local(folder)
    _check_folder(folder, Path(os.path.realpath(folder)))


def _check_folder(path: Path, folder: Path) -> None:
    """Check that the nearest folder that exists can be written; ``path`` is for the message."""
    existing = next(
        (ancestor for ancestor in (folder, *folder.parents) if os.path.lexists(ancestor)), folder
    )
    if not os.path.isdir(existing):  # noqa: PTH112
        error: OSError = NotADirectoryError(errno.ENOTDIR, "Not a directory")
    elif not os.access(existing, os.W_OK):
        error = PermissionError(errno.EACCES, "Permission denied")
    else:
        return
    if existing != Path(os.path.realpath(path)):
        error.filename = str(existing)
    raise ConfigError(cannot_write(error, path))


def check_bank_path(path: Path) -> None:
    """Check that images can be encoded into a bank of this path, before a model is loaded.

    Raises
    ------
    BankError
        If it is a bank set, another file, or the address of an object store.
    ConfigError
        If it cannot be written.
    """
    check_local(path)
    if is_bank_set(path):
        raise BankError(
            f"{path}: expected a bank or a new name, found a bank set: name another file; `hashkit "
            "encode --shards N` makes a set, and `hashkit sync` adds images to one"
        )
    check_writable(path)
    check_bank_name(path)


def check_page_path(path: Path | None) -> None:
    """Raise `ConfigError` if a page would replace a file of another kind, such as an image."""
    _check_replaced(path, _PAGES)


def check_table_path(path: Path | None, inputs: Iterable[Path | None] = ()) -> None:
    """Raise `ConfigError` if a table would replace a file of another kind, or one of ``inputs``."""
    _check_replaced(path, _TABLES, inputs)


def check_latex_path(path: Path | None) -> None:
    """Raise `ConfigError` if a table in LaTeX would replace a file of another kind."""
    _check_replaced(path, _LATEX)


def check_model_path(path: Path | None) -> None:
    """Raise `ConfigError` if an exported model would replace a file of another kind."""
    _check_replaced(path, _MODELS)


def check_markdown_path(path: Path | None) -> None:
    """Raise `ConfigError` if a table in Markdown would replace a file of another kind."""
    _check_replaced(path, _MARKDOWN)


def _check_replaced(
    path: Path | None, endings: Sequence[str], inputs: Iterable[Path | None] = ()
) -> None:
    if path is None:
        return
    check_writable(path)
    if not is_file(path):
        return
    if path.suffix.lower() not in endings:
        raise ConfigError(
            f"{path}: expected a new file or one that ends in {' or '.join(endings)}, found "
            "another file, which is not replaced: choose another name"
        )
    if any(one is not None and is_file(one) and one.samefile(path) for one in inputs):
        raise ConfigError(
            f"{path}: expected a new file, found an input file, which is not replaced: choose "
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
        Files and folders of queries, none of whose files is replaced, and other names.
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
